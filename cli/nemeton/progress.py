"""A line that tells how it goes."""

import sys
from types import TracebackType
from typing import Self, TextIO


class ProgressLine:
    """On a terminal one line that changes in place; elsewhere a line whenever there is news."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._in_place = self._out.isatty()
        self._open = False

    def show(self, text: str, is_news: bool) -> None:
        if self._in_place:
            print(f"\r\x1b[2K{text}", end="", file=self._out, flush=True)
            self._open = True
        elif is_news:
            print(text, file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._open:
            print(file=self._out, flush=True)
