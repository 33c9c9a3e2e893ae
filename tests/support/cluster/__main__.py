"""
`python -m tests.support.cluster kube` or `… node`: a cluster to try things on, until Ctrl-C.

After `node` may stand roles, such as `overlord operator trial peon`: their images are built and loaded, under the names
that the chart has by default. The resource definition is the chart's to bring; `--crds` is for trying without it.
"""

import argparse
import contextlib
import signal

import yaml

from tests.support.chart import CHART
from tests.support.cluster.binaries import path
from tests.support.cluster.control_plane import ControlPlane, running_control_plane
from tests.support.cluster.images import IMAGES, load
from tests.support.cluster.node import Node, running_node


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.cluster", description="A cluster, until Ctrl-C.")
    parser.add_argument("kind", choices=["kube", "node"], nargs="?", default="kube")
    parser.add_argument("roles", nargs="*", help=f"images to build and load, with node: {' '.join(IMAGES)}")
    parser.add_argument("--crds", action="store_true", help="apply the resource definition, for use without the chart")
    given = parser.parse_args(arguments)
    if given.roles and given.kind != "node":
        parser.error("images need a node: node " + " ".join(given.roles))
    if unknown := [role for role in given.roles if role not in IMAGES]:
        parser.error(f"there is no image {unknown[0]}, only {' '.join(IMAGES)}")
    with running_node() if given.kind == "node" else running_control_plane() as cluster:
        if given.crds:
            cluster.apply_crds()
        if isinstance(cluster, Node):
            _provide(cluster, *given.roles)
        _tell(cluster)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


def _provide(node: Node, *roles: str) -> None:
    """Images under the names that pods of the chart ask for when no value says otherwise."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    load(node, *roles)
    for role in roles:
        name = f"{values[role]['image']['repository']}:{version}"
        node.name_image(IMAGES[role].name, f"docker.io/library/{name}")
        print(f"# image {name}")


def _tell(cluster: ControlPlane) -> None:
    folders = ":".join(dict.fromkeys(str(path(program).parent) for program in ("kubectl", "helm")))
    print(f"# ready in {cluster.seconds_to_ready:.1f} s; logs in {cluster.logs}")
    print(f"export PATH={folders}:$PATH")
    print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: with everything taken down
    main()
