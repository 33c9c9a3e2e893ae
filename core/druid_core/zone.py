"""Time zones as offsets in milliseconds: what the clock on the wall says, and back."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from druid_core.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DAY_MS = 86_400_000
_OFFSET = re.compile(r"([+-])(\d{2})(?::?(\d{2}))?")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# datetime knows the years 1 to 9999; zones do not change outside what the database describes
_FIRST_MS = -62_135_510_400_000
_LAST_MS = 253_402_214_400_000


@dataclass(frozen=True, slots=True)
class FixedOffset:
    """A zone that never changes; `offset` in milliseconds east of UTC."""

    offset: int

    def offset_ms(self, ms: int) -> int:
        """What to add to an instant to get wall-clock time."""
        return self.offset

    def offsets_ms(self, ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | int:
        """`offset_ms` of each instant."""
        return self.offset

    def to_utc(self, local: int) -> int:
        """The instant at which the clock shows `local`."""
        return local - self.offset


@dataclass(frozen=True, slots=True)
class RegionalZone:
    """A zone of the IANA database."""

    info: ZoneInfo

    def offset_ms(self, ms: int) -> int:
        """What to add to an instant to get wall-clock time."""
        ms = min(max(ms, _FIRST_MS), _LAST_MS)
        at = (_EPOCH + datetime.timedelta(milliseconds=ms)).astimezone(self.info)
        return _millis(at.utcoffset())

    def offsets_ms(self, ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`offset_ms` of each instant; the cost is one look a distinct UTC day."""
        import numpy as np

        if ms.size == 0:
            return ms.copy()
        borders: list[int] = []
        offsets: list[int] = []
        for day in np.unique(ms // _DAY_MS).tolist():
            start, end = day * _DAY_MS, (day + 1) * _DAY_MS
            borders.append(start)
            offsets.append(before := self.offset_ms(start))
            after = self.offset_ms(end)
            if before != after:
                borders.append(self._change(start, end, before))
                offsets.append(after)
        positions = np.searchsorted(np.asarray(borders, dtype=np.int64), ms, side="right") - 1
        return np.asarray(offsets, dtype=np.int64)[positions]

    def to_utc(self, local: int) -> int:
        """
        The instant at which the clock shows `local`.

        The earlier one where the clock shows it twice; where it never does, the instant of the change.
        """
        if not _FIRST_MS <= local <= _LAST_MS:
            return local - self.offset_ms(local)
        wall = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=local)  # noqa: DTZ001
        before = _millis(wall.replace(tzinfo=self.info, fold=0).utcoffset())
        after = _millis(wall.replace(tzinfo=self.info, fold=1).utcoffset())
        if after > before:  # a gap: the clock jumps over `local`
            return self._change(local - after, local - before, before)
        return local - before

    def _change(self, start: int, end: int, before: int) -> int:
        """The first instant after `start`, up to `end`, whose offset is not `before`."""
        while end - start > 1:
            middle = (start + end) // 2
            if self.offset_ms(middle) == before:
                start = middle
            else:
                end = middle
        return end


Zone = FixedOffset | RegionalZone


@lru_cache(maxsize=512)
def zone_of(name: str) -> Zone:
    """
    The zone of an id such as `Europe/Rome`, `UTC`, `Z` or `+05:30`.

    Raises InvalidInput with Joda's words. Needs the system's zone database or the `tzdata` package.
    """
    if name in ("UTC", "Z", "Etc/UTC", "GMT", "Etc/GMT"):
        return FixedOffset(0)
    match = _OFFSET.fullmatch(name)
    if match is not None:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        return FixedOffset((-minutes if match[1] == "-" else minutes) * 60_000)
    try:
        return RegionalZone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"The datetime zone id '{name}' is not recognised") from error


def _millis(offset: datetime.timedelta | None) -> int:
    return 0 if offset is None else round(offset.total_seconds() * 1000)
