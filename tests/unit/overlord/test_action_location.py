"""A peon's word on where it serves: the Overlord calls there."""

import pytest

from druid_core.errors import InvalidInput
from druid_core.status import TaskLocation
from overlord.action.location import check_location


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "::1", "2001:db8::7", "peon-1", "peon_1.tasks.svc.cluster.local", "localhost"]
)
def test_names_and_addresses_of_hosts_are_taken(host: str) -> None:
    check_location(TaskLocation(host=host, port=8100))


@pytest.mark.parametrize(
    "host",
    [
        *("", "http://10.1.2.3", "u@127.0.0.1", "x\r\nX-E: 1", "a b", "a/b", "host:80", "-a", "a..b", "x" * 254),
        *("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "2852039166"),
    ],
)
def test_nothing_else_is_called(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"location\.host"):
        check_location(TaskLocation(host=host, port=8100))


@pytest.mark.parametrize(("port", "tls_port"), [(65_536, -1), (8100, 70_000)])
def test_a_port_beyond_the_last_is_none(port: int, tls_port: int) -> None:
    with pytest.raises(InvalidInput, match="at most 65535"):
        check_location(TaskLocation(host="peon", port=port, tls_port=tls_port))
