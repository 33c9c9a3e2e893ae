"""
From batches of input columns to segments: values, rollup, spills, their merge, and the push.

Works on whole columns. Knows the segment format only through `peon.segment`, and the Overlord not at all.
"""
