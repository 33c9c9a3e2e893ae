"""The release's pod templates: a folder of files, each named by its key. Druid: PodTemplateTaskAdapter"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from druid_core.errors import InvalidInput

_SUFFIXES = (".yaml", ".yml", ".json")


class Templates:
    """Read anew when a file of theirs changes: a ConfigMap that is mounted changes under the running operator."""

    def __init__(self, folder: str | None) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._stamp: tuple[tuple[str, int, int], ...] | None = None
        self._templates: dict[str, Mapping[str, Any]] = {}

    def read(self) -> Mapping[str, Mapping[str, Any]]:
        """All templates by key. Raises InvalidInput naming the file that is none."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        files = sorted(file for file in self._folder.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        stamp = tuple((file.name, (found := file.stat()).st_mtime_ns, found.st_size) for file in files)
        if stamp != self._stamp:
            self._templates = {file.stem: _read(file) for file in files}
            self._stamp = stamp
        return self._templates


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content: Any = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"The pod template {file.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"The pod template {file.name} is no object: a v1 PodTemplate or a pod is expected")
    return content
