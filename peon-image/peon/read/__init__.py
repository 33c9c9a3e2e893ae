"""
From an input source to batches of columns: sources, decompression, formats, timestamps.

Knows nothing of dimensions, rollup or segments. Rows that cannot be read, or have no good timestamp, end here,
counted and kept exactly as Druid does.
"""
