"""
The last touch to the base of an image, run once by its Python at build time; it removes itself.

No installer stays, the standard library has its bytecode (a container with a read-only root could never store it, and
would compile at every start), and the numeric user has a name (PostgreSQL's initdb insists on one). Standard library
only, and no shell: the base may have none.
"""

import compileall
import re
import shutil
import sysconfig
from pathlib import Path

USER = 65532
"""Numeric, so that Kubernetes can see that it is not root; the one that distroless images use."""

BINARIES = [Path("/usr/local/bin"), Path("/usr/bin")]


def remove_installers() -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    libraries = [Path(sysconfig.get_path("purelib")), stdlib / "site-packages", Path("/usr/lib/python3/dist-packages")]
    names = ("pip*", "setuptools*", "wheel*")
    found = [path for library in libraries for name in names for path in library.glob(name)]
    found += [stdlib / "ensurepip", Path("/usr/share/python-wheels")]
    found += [path for folder in BINARIES for path in folder.glob("pip*")]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def compile_standard_library() -> None:
    """Without its tests, which nobody runs here."""
    compileall.compile_dir(
        sysconfig.get_path("stdlib"), quiet=1, rx=re.compile(r"/(tests?|idlelib|lib2to3|turtledemo|\w+-packages)/")
    )


def name_the_user() -> None:
    passwd, group = Path("/etc/passwd"), Path("/etc/group")
    if f":{USER}:" not in passwd.read_text():
        with passwd.open("a") as lines:
            lines.write(f"nemeton:x:{USER}:{USER}:Nemeton:/tmp:/usr/sbin/nologin\n")
        with group.open("a") as lines:
            lines.write(f"nemeton:x:{USER}:\n")


if __name__ == "__main__":
    remove_installers()
    compile_standard_library()
    name_the_user()
    Path(__file__).unlink()
