"""What a running ingestion answers to whoever calls its peon."""

from typing import Any

from peon.toolbox import Toolbox


class LiveIngestion:
    """The chat server's view of a toolbox. Druid: IndexTask's chat endpoints"""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def row_stats(self, *, full: bool) -> dict[str, Any]:
        return self._toolbox.progress.row_stats(self._toolbox.clock(), full=full)

    def live_report(self, *, full: bool) -> dict[str, Any]:
        return self._toolbox.progress.live_report(self._toolbox.task_id, self._toolbox.clock(), full=full)

    def unparseable_events(self, *, full: bool) -> dict[str, list[dict[str, Any]]]:
        return self._toolbox.progress.unparseable_events(full=full)
