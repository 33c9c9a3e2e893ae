"""
Apache Druid 37.0.0 on this machine: its jars from Maven Central, once, in the user's cache folder.

Unmodified jars and `org.apache.druid.cli.Main`. Two things are ours: empty stand-ins for the Guice modules of the
multi-stage-query engine (its jars are left out, but Druid's command names the classes), and the small JVM programs
under `java/`, compiled on first use into a folder named after their content.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

DRUID_VERSION = "37.0.0"
HERE = Path(__file__).parent
JAVA_SOURCES = HERE / "java"
CONF = HERE / "conf"

# What Druid's own start scripts open to its libraries on Java 17.
JAVA_FLAGS = (
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
    "-Duser.timezone=UTC",
    "-Dfile.encoding=UTF-8",
    "-Djava.net.preferIPv4Stack=true",
)

STAND_INS = {
    "org.apache.druid.msq.guice": (
        "MSQExternalDataSourceModule",
        "PeonMemoryManagementModule",
        "MSQDurableStorageModule",
        "MSQIndexingModule",
    ),
    "org.apache.druid.msq.dart.guice": ("DartWorkerMemoryManagementModule", "DartWorkerModule"),
}

STAND_IN_SOURCE = """package {package};

/** Stands in for the class of this name, whose jar is left out; adds nothing. */
public class {name} implements org.apache.druid.initialization.DruidModule
{{
  @Override
  public void configure(com.google.inject.Binder binder)
  {{
  }}
}}
"""


class DruidMissingError(Exception):
    """Druid cannot run on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class DruidInstall:
    """Where the pieces lie. `lib` holds Druid's jars, `classes` what was compiled here."""

    java: str
    lib: Path
    classes: Path

    def classpath(self, *first: Path) -> str:
        return os.pathsep.join([*(str(folder) for folder in first), str(self.classes), str(CONF), f"{self.lib}/*"])

    def command(self, *arguments: str, flags: tuple[str, ...] = (), first: tuple[Path, ...] = ()) -> list[str]:
        """The command line of one JVM: `arguments` begin with the main class; `first` goes first on the class path."""
        return [self.java, *JAVA_FLAGS, *flags, "-cp", self.classpath(*first), *arguments]


def install() -> DruidInstall:
    """
    Jars fetched, sources compiled. Cheap when both are there; safe when two runs race for it.

    Raises DruidMissingError when a program is missing or Maven Central cannot be reached.
    """
    java = _require_programs()
    root = cache_folder()
    root.mkdir(parents=True, exist_ok=True)
    lib = root / "lib"
    classes = root / f"classes-{_fingerprint()}"
    with _locked(root / ".lock"):
        if not (lib / ".done").exists():
            _fetch_jars(lib)
        if not (classes / ".done").exists():
            _compile(lib, classes)
    return DruidInstall(java=java, lib=lib, classes=classes)


def extensions(*names: str) -> Path:
    """
    A folder with these extensions of Druid in it, as `druid.extensions.directory` takes it. Only for those that bring
    nothing but their own jar. Fetched like the rest, once. Druid: PullDependencies

    Raises DruidMissingError.
    """
    folder = cache_folder() / "extensions"
    with _locked(cache_folder() / ".lock"):
        for name in names:
            done = folder / f".{name}.done"
            if not done.exists():
                _maven(
                    *("dependency:copy", f"-Dartifact=org.apache.druid.extensions:{name}:{DRUID_VERSION}"),
                    f"-DoutputDirectory={folder / name}",
                )
                done.touch()
    return folder


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/nemeton/druid-37.0.0`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "nemeton" / f"druid-{DRUID_VERSION}"


def _require_programs() -> str:
    java = shutil.which("java")
    missing = [] if java and _java_major(java) >= 17 and shutil.which("javac") else ["java 17"]
    if not (cache_folder() / "lib" / ".done").exists() and not shutil.which("mvn"):
        missing.append("mvn")
    if missing or java is None:
        verb = "is" if len(missing) == 1 else "are"
        raise DruidMissingError(
            f"Druid ring cannot run: {' and '.join(missing)} {verb} missing; "
            "apt-get install openjdk-17-jdk-headless maven"
        )
    return java


def _java_major(java: str) -> int:
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60)
    version = re.search(r'version "(\d+)', answer.stderr)
    return int(version.group(1)) if version else 0


def _fetch_jars(lib: Path) -> None:
    _maven("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={lib}")
    (lib / ".done").touch()


def _maven(*goal: str) -> None:
    if not shutil.which("mvn"):
        raise DruidMissingError("Druid ring cannot run: mvn is missing; apt-get install maven")
    command = ["mvn", "-B", "-q", "-f", str(HERE / "maven" / "pom.xml"), f"-Ddruid.version={DRUID_VERSION}", *goal]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if answer.returncode != 0:
        raise DruidMissingError(f"Maven could not fetch Druid {DRUID_VERSION}: {answer.stdout[-2000:]}")


def _compile(lib: Path, classes: Path) -> None:
    shutil.rmtree(classes, ignore_errors=True)
    stand_ins = classes / "stand-ins"
    sources = [str(path) for path in JAVA_SOURCES.rglob("*.java")]
    for package, names in STAND_INS.items():
        for name in names:
            source = stand_ins / package.replace(".", "/") / f"{name}.java"
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(STAND_IN_SOURCE.format(package=package, name=name))
            sources.append(str(source))
    subprocess.run(["javac", "-nowarn", "-cp", f"{lib}/*", "-d", str(classes), *sources], check=True, timeout=300)
    (classes / ".done").touch()


def _fingerprint() -> str:
    digest = hashlib.sha256(STAND_IN_SOURCE.encode() + repr(STAND_INS).encode())
    for path in sorted(JAVA_SOURCES.rglob("*.java")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
