"""kubectl as a person uses it: the built one, with the cluster's own kubeconfig."""

import subprocess
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.support.cluster.binaries import path


class KubectlFailed(Exception):
    """kubectl's own words."""


def write_kubeconfig(file: Path, server: str, authority: Path, token: str, namespace: str = "default") -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
        "current-context": "test",
    }
    file.write_text(yaml.safe_dump(config))
    file.chmod(0o600)
    return file


class Kubectl:
    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def __call__(self, *arguments: str, stdin: str | bytes | None = None, timeout_s: float = 120) -> str:
        """Its output. Raises KubectlFailed with what it printed as an error."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        command = [str(path("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]
        answer = subprocess.run(command, input=data, capture_output=True, check=False, timeout=timeout_s)
        if answer.returncode != 0:
            raise KubectlFailed(answer.stderr.decode(errors="replace").strip())
        return answer.stdout.decode(errors="replace")

    def apply(self, *manifests: dict[str, Any] | Path, namespace: str | None = None, server_side: bool = False) -> str:
        """Objects, or files and folders of them."""
        where = [] if namespace is None else ["--namespace", namespace]
        how = ["--server-side", "--force-conflicts"] if server_side else []
        files = [manifest for manifest in manifests if isinstance(manifest, Path)]
        objects = [manifest for manifest in manifests if isinstance(manifest, dict)]
        said = [self("apply", *where, *how, "--filename", str(file)) for file in files]
        if objects:
            listed = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
            said.append(self("apply", *where, *how, "--filename", "-", stdin=listed))
        return "".join(said)

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get … --output json`."""
        return orjson.loads(self("get", *arguments, "--output", "json"))
