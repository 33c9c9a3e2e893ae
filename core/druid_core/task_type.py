"""The types of tasks, for all who must tell them apart without reading a task."""

SUPPORTED_TYPES = ("index", "index_parallel", "kill", "noop")
"""Those that our peon runs."""
