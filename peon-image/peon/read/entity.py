"""One thing to be read from its beginning to its end: a file, an answer to a GET, the text in a spec."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from druid_core.errors import TaskFailure
from peon.read.decompress import decompressed, is_compressed


@dataclass(frozen=True, slots=True)
class InputEntity:
    """
    `uri` is what messages call it (None for inline data), `path` the part of it whose ending tells the compression.

    `open_raw` starts a stream of its bytes as stored; `file` is where it lies, if it lies on this machine.
    Druid: InputEntity
    """

    uri: str | None
    path: str
    open_raw: Callable[[], BinaryIO]
    file: Path | None = None

    @property
    def name(self) -> str:
        """What to call it in an error."""
        return self.uri or "inline data"

    def open(self) -> BinaryIO:
        """
        Its bytes, decompressed.

        Raises TaskFailure that names it, here and in `read`, if it cannot be read to its end.
        """
        return decompressed(self.open_raw(), self.path, self.name)

    def fetched(self, scratch_dir: Path) -> Path:
        """
        A local file with its decompressed bytes, for formats that are not read front to back.

        Raises TaskFailure that names it if it cannot be read.
        """
        if self.file is not None and not is_compressed(self.path):
            self.open_raw().close()  # a library that opens it later would say so in words of its own
            return self.file
        target = scratch_dir / "fetched"
        try:
            with self.open() as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        except OSError as error:
            raise TaskFailure(f"Cannot fetch [{self.name}] to [{scratch_dir}]: {error}") from error
        return target
