"""A real S3 server for tests: SeaweedFS from its wheel, one process, a folder that goes away."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from tests.support.house import until
from tests.support.ports import free_port

PROGRAM = Path(sys.executable).with_name("weed")


@dataclass(frozen=True, slots=True)
class S3:
    url: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What a client of S3 goes by. The server asks for no credentials; clients want some."""
        return {
            "AWS_ENDPOINT": self.url,
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def make_bucket(self, name: str) -> None:
        assert urllib3.request("PUT", f"{self.url}/{name}", timeout=30).status == 200

    def pause(self) -> None:
        """Answer nobody, as a server whose machine stands still."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def list(self, bucket: str) -> str:
        """The bucket's listing, as the XML that it is."""
        return urllib3.request("GET", f"{self.url}/{bucket}?list-type=2", timeout=30).data.decode()


@contextmanager
def serving(folder: Path) -> Generator[S3]:
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    # gRPC takes the port 10000 above unless told otherwise, which may be none.
    options = [f"-{name}.port={port}" for name, port in ports.items()]
    options += [f"-{name}.port.grpc={free_port()}" for name in ports]
    command = [
        str(PROGRAM),
        "-logtostderr=true",
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        # Servers that nobody asked for, on fixed ports: a second SeaweedFS would not start.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options, "-master.volumeSizeLimitMB=64", "-volume.max=20"], stdout=log, stderr=log
        )
    try:
        s3 = S3(f"http://127.0.0.1:{ports['s3']}", process.pid)

        def is_up() -> bool:
            assert process.poll() is None, (folder / "weed.log").read_text()[-3000:]
            try:
                return urllib3.request("GET", s3.url, timeout=1, retries=False).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        until(is_up, "SeaweedFS answers")
        yield s3
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
