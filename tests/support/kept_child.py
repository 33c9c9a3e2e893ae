"""
A keeper over any child: `python -m tests.support.kept_child WORK_DIR CODE` watches a Python that runs CODE.

For what a peon would do only on its worst days. The environment is a keeper's.
"""

import os
import signal
import sys
from pathlib import Path

from peon.watch import Watch


def main() -> None:
    work_dir, code = Path(sys.argv[1]), sys.argv[2]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD))
    output, childs_output = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(output)
        os.dup2(childs_output, 1)
        os.dup2(childs_output, 2)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execv(sys.executable, [sys.executable, "-u", "-c", code])
    os.close(childs_output)
    os._exit(Watch(child, output, work_dir / "log", work_dir / "status.json", os.environ).keep())


if __name__ == "__main__":
    main()
