"""
Segments as rows: allocated, published, listed, marked, deleted.

Speaks Druid's metadata tables to the letter, so that a Coordinator serves what is published here. Never reads the
bytes of a segment, and asks the lockbox before it writes.
"""
