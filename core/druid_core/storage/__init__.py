"""
Object storage: where segments, task logs and reports are kept for good.

The one place of `druid_core` that does I/O, and `object_store` the one module that knows the library behind it.
"""
