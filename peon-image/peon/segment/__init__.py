"""
The V9 segment format, bytes in and bytes out.

Knows nothing of tasks, locks or the Overlord, and does no I/O beyond the folder or zip it is given.
Structures on disk keep Druid's class names, because Druid's code is the format's specification.
`columns` says what is written, `write` writes it, `read` opens it; every other module is one noun of the format
and holds both directions of it.
"""
