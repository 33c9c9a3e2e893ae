"""How much a folder holds."""

import os
from pathlib import Path


def bytes_below(folder: Path) -> int:
    """
    Bytes on disk of all files below a folder; links are not followed.

    What vanishes meanwhile counts nothing: the folder belongs to a process that goes on working.
    """
    total = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    except FileNotFoundError:
                        continue
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total
