"""
The commands that talk to an Overlord, this one's or Java Druid's: only Druid's own API is used.
"""
