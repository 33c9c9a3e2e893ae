"""
What Prometheus reads at `/metrics`: counts of this replica, and gauges of the rows that are the same at every one.

A name is Druid's with `druid_` before it, in lower case, `_` for whatever is neither letter nor digit, as Druid's own
prometheus-emitter makes it; times are seconds, and counts end in `_total`. What Druid has no name for begins with
`nemeton_`. Nothing here decides anything.
"""
