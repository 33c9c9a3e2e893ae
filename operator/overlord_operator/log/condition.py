"""Whether the log of a task can be stored, as a condition of its DruidTask. Pure."""

from collections.abc import Sequence

from overlord_operator import names
from overlord_operator.druid_task.status import Condition, duration_text, with_condition
from overlord_operator.observed import Observed
from overlord_operator.runner.attempts import AttemptView

STORAGE_AWAY = "StorageAway"
"""The reason while it cannot."""

GIVEN_UP = "GivenUp"
"""The reason once it was tried for too long."""


def with_log_condition(
    conditions: Sequence[Condition], observed: Observed, views: Sequence[AttemptView], lingering: str | None
) -> list[Condition]:
    """
    The conditions, with one that says that a log cannot be stored, or can again; without it where nothing was ever in
    the way. `lingering`: why the peon itself does not end, where it does not.
    """
    memory, generation = observed.memory, observed.task.generation if observed.task is not None else None
    kind, now_ms = names.CONDITION_LOG_STORED, observed.now_ms
    patience = duration_text(1000 * observed.settings.log_patience_seconds)
    for attempt, why in sorted(memory.log_troubles.items()):
        if attempt in memory.safe_logs:
            message = f"The log of attempt {attempt} could not be stored for {patience} and is given up. {why}"
            return with_condition(conditions, kind, False, GIVEN_UP, message, now_ms, generation)
        message = f"The log of attempt {attempt} cannot be stored yet: its pod is kept for it, up to {patience}. {why}"
        return with_condition(conditions, kind, False, STORAGE_AWAY, message, now_ms, generation)
    if lingering is not None:
        return with_condition(conditions, kind, False, STORAGE_AWAY, lingering, now_ms, generation)
    was_away = any(known.type == kind and known.status == "False" for known in conditions)
    if was_away and all(view.attempt in memory.safe_logs for view in views if view.is_over):
        return with_condition(conditions, kind, True, "Stored", "", now_ms, generation)
    return list(conditions)
