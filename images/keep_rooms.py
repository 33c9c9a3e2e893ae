"""
Leave in an environment only those of our packages that a role needs: `keep_rooms.py druid_core overlord nemeton`.

The distribution carries all rooms; an image of one role should not hold the code of another. The list of installed
files is rewritten with it, so that whoever checks the installation finds it whole. Standard library only.
"""

import csv
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path


def keep(rooms: set[str], site_packages: Path, record: Path) -> list[str]:
    """
    Remove every top-level package in `record` (a RECORD file) that is not in `rooms`; returns what was removed.

    Raises SystemExit for a room that the distribution does not have: a misspelt name must not pass for a small image.
    """
    with record.open(newline="") as lines:
        rows = list(csv.reader(lines))
    packages = {row[0].partition("/")[0] for row in rows if row[0].endswith("/__init__.py")}
    packages = {name for name in packages if not name.endswith(".dist-info") and (site_packages / name).is_dir()}
    if unknown := rooms - packages:
        sys.exit(f"no such package in the distribution: {', '.join(sorted(unknown))}; it has {sorted(packages)}")
    removed = sorted(packages - rooms)
    for name in removed:
        shutil.rmtree(site_packages / name)
    with record.open("w", newline="") as lines:
        csv.writer(lines, lineterminator="\n").writerows(row for row in rows if row[0].partition("/")[0] not in removed)
    return removed


def main() -> None:
    files = distribution("nemeton").files or []
    record = next(Path(str(file.locate())) for file in files if file.name == "RECORD")
    print("removed", *keep(set(sys.argv[1:]), record.parent.parent, record))


if __name__ == "__main__":
    main()
