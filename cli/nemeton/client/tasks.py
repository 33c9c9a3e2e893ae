"""`nemeton tasks`: what the Overlord has, as a table."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"SUCCESS": "green", "FAILED": "red", "RUNNING": "cyan", "PENDING": "yellow", "WAITING": "yellow"}


def show(tasks: list[dict[str, Any]], console: Console) -> None:
    """One line a task, in the Overlord's order."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("state", "type", "datasource", "created"):
        table.add_column(column, no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    for task in tasks:
        state = state_of(task)
        table.add_row(
            f"[{STYLES.get(state, 'default')}]{state}[/]",
            escape(str(task.get("type") or "")),
            escape(str(task.get("dataSource") or "")),
            str(task.get("createdTime") or "").replace("T", " ")[:19],
            duration(-1 if task.get("duration") is None else int(task["duration"])),
            escape(str(task["id"])),
        )
    console.print(table)
    failed = [task for task in tasks if task.get("errorMsg")]
    for task in failed[:5]:
        console.print(f"\n[red]{escape(str(task['id']))}[/]: {escape(str(task['errorMsg']))}")


def state_of(task: dict[str, Any]) -> str:
    """One word: where an active task stands, how a finished one ended."""
    code = str(task.get("statusCode") or "")
    return str(task.get("runnerStatusCode") or code) if code == "RUNNING" else code


def duration(milliseconds: int) -> str:
    """`1.2 s`, `3 m 05 s`, `2 h 10 m`; nothing for -1, which Druid writes where it does not know."""
    if milliseconds < 0:
        return ""
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60):02} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02} m"
