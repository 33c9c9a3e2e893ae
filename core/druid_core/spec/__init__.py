"""
What to ingest and how: the parts of an ingestion spec as frozen models, validated once, at the door.

Here is what a spec means, its defaults and its refusals in Druid's words. How rows are read and built is the peon's.
"""
