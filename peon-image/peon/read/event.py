"""A record as messages show it: `{page=a, added=1.0E20, tags=[x, y]}`."""

from collections.abc import Mapping

from peon.java_text import java_text

_EVENT_CHARACTERS = 100
"""UTF-16 units of an event that a message shows. Druid: MapInputRowParser.rawMapToPrint"""


def event_text(event: Mapping[str, object]) -> str:
    """A record in a message: cut where it gets long."""
    text = java_text(event)
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) < 2 * _EVENT_CHARACTERS:
        return text
    return units[: 2 * _EVENT_CHARACTERS].decode("utf-16-le", "replace") + "..."
