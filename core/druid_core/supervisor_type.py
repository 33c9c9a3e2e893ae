"""The types of supervisors, for all who must tell a supervisor's spec from a task."""

SUPERVISOR_PATH = "/druid/indexer/v1/supervisor"
"""Where specs of supervisors are posted."""

NOOP = "NoopSupervisorSpec"
"""Does nothing, and is there. With no id of its own it says that a supervisor was terminated."""
AUTOCOMPACT = "autocompact"
"""Keeps a datasource compacted. Druid: CompactionSupervisorSpec"""

SUPPORTED_TYPES = (NOOP, AUTOCOMPACT)
KNOWN_TYPES = ("kafka", "kinesis", "rabbit", "scheduled_batch")
"""Types of Druid's that are not here yet."""

SUPERVISOR_TYPES = frozenset({*SUPPORTED_TYPES, *KNOWN_TYPES})
