"""Where a peon says that it serves. The Overlord calls there for logs and reports, so it must be a place for peons."""

import re
from ipaddress import ip_address

from druid_core.errors import InvalidInput
from druid_core.status import TaskLocation

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_LONGEST_NAME = 253
_LAST_PORT = 65_535


def check_location(location: TaskLocation) -> None:
    """
    Raises InvalidInput for a host that is neither a name nor an address, an address where no peon can be (link-local,
    as the metadata of clouds is, multicast, unspecified), or a port beyond the last.
    """
    host = location.host or ""
    if max(location.port, location.tls_port) > _LAST_PORT:
        raise InvalidInput(f"location has port [{max(location.port, location.tls_port)}]: at most {_LAST_PORT} is one")
    try:
        address = ip_address(host)
    except ValueError:
        if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host) or host.replace(".", "").isdigit():
            raise InvalidInput(f"location.host [{host[:_LONGEST_NAME]}] is no host's name or address") from None
        return
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise InvalidInput(f"location.host [{host}] is no address where a peon can be called")
