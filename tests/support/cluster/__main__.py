"""
`python -m tests.support.cluster kube` or `… node`: a cluster to try things on, until Ctrl-C.

After `node` may stand roles, such as `overlord operator trial peon`, whose images are built and loaded.
"""

import contextlib
import signal
import sys

from tests.support.cluster.control_plane import running_control_plane
from tests.support.cluster.images import IMAGES, load
from tests.support.cluster.node import Node, running_node


def main(kind: str, *roles: str) -> None:
    with running_node() if kind == "node" else running_control_plane() as cluster:
        cluster.apply_crds()
        if isinstance(cluster, Node):
            load(cluster, *roles)
            for role in roles:
                print(f"# image {IMAGES[role].name}")
        print(f"# ready in {cluster.seconds_to_ready:.1f} s; logs in {cluster.logs}")
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: with everything taken down
    main(*(sys.argv[1:] or ["kube"]))
