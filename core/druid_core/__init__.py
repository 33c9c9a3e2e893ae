"""
The nouns of Druid that every room shares: frozen wire models and pure functions over them.

What crosses a wire or reaches a disk as JSON is described here once, in Druid's spelling. No I/O happens
here (``storage/`` alone excepted), nothing reads a clock, and nothing knows Postgres, Kubernetes or the bytes
of a segment.
"""
