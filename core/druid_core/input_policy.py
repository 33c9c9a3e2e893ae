"""
Where tasks may read from: protocols, folders, addresses. The Overlord says it, at submission and to each peon; the peon
keeps to it when it opens a file or a connection, because only then a link and a name have become a place.
"""

from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path, PurePosixPath
from typing import assert_never
from urllib.parse import urlsplit

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.spec.input import HttpSource, InlineSource, InputSource, LocalSource
from druid_core.spec.segment_source import DruidSource
from druid_core.wire import WireModel

INPUT_POLICY_HEADER = "X-Nemeton-Input-Policy"
"""With the payload that a peon fetches: the policy, as JSON."""

METADATA_NETWORKS = (
    *("169.254.0.0/16", "fe80::/10"),  # link-local: AWS, Google, Azure and others serve a machine's credentials there
    "fd00:ec2::254/128",  # AWS
    "100.100.100.200/32",  # Alibaba
    "192.0.0.192/32",  # Oracle
    "168.63.129.16/32",  # Azure's wire server
)

_NAT64 = ip_network("64:ff9b::/96")
"""An IPv4 address in the clothes of an IPv6 one. RFC 6052"""


_COMPATIBLE = IPv6Network("::/96")
"""The same in older clothes. RFC 4291, deprecated there"""
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class InputPolicy(WireModel):
    """What input sources may reach."""

    protocols: tuple[str, ...] = ("http", "https")
    local_paths: tuple[str, ...] = ()
    """Absolute folders or files below which `local` may read; `/` is everything."""
    denied_networks: tuple[str, ...] = METADATA_NETWORKS

    def check(self, source: InputSource) -> None:
        """
        What can be known before a name is resolved and a link is followed.

        Raises InvalidTask.
        """
        match source:
            case InlineSource() | DruidSource():
                return
            case LocalSource(base_dir=base_dir, files=files):
                for path in [*files, *([base_dir] if base_dir is not None else [])]:
                    if not self._lies_within(PurePosixPath(path)):
                        raise InvalidTask(self._not_listed(path))
            case HttpSource(uris=uris):
                for uri in uris:
                    parts = urlsplit(uri)
                    if parts.scheme not in self.protocols:
                        raise InvalidTask(self._not_allowed(parts.scheme))
                    self._check_literal(parts.hostname or "")
            case _:
                assert_never(source)

    def check_file(self, path: Path) -> None:
        """A file that is there, links followed. Raises InvalidInput."""
        try:
            allowed = "/" in self.local_paths or self._lies_within(PurePosixPath(path.resolve()))
        except (OSError, RuntimeError, ValueError):  # links in a circle, a null character: no place at all
            allowed = False
        if not allowed:
            raise InvalidInput(self._not_listed(str(path)))

    def check_protocol(self, protocol: str) -> None:
        """Raises InvalidInput."""
        if protocol not in self.protocols:
            raise InvalidInput(self._not_allowed(protocol))

    def check_address(self, host: str, address: str) -> None:
        """An address that `host` was resolved to. Raises InvalidInput."""
        for ip in _all_forms(ip_address(address.partition("%")[0])):
            if any(ip.version == network.version and ip in network for network in _networks(self.denied_networks)):
                raise InvalidInput(f"inputSource may not read from [{host}]: its address {address} is denied")

    def _check_literal(self, host: str) -> None:
        try:
            ip_address(host.partition("%")[0])
        except ValueError:
            return  # a name
        try:
            self.check_address(host, host)
        except InvalidInput as error:
            raise InvalidTask(str(error)) from error

    def _lies_within(self, path: PurePosixPath) -> bool:
        if "/" in self.local_paths:
            return True
        return ".." not in path.parts and any(path.is_relative_to(allowed) for allowed in self.local_paths)

    def _not_listed(self, path: str) -> str:
        listed = ", ".join(self.local_paths) or "none"
        return (
            f"inputSource of type [local] may not read [{path}]: paths that may be read here are [{listed}] "
            "(setting local_input_paths)"
        )

    def _not_allowed(self, protocol: str) -> str:
        return f"Only [{', '.join(self.protocols)}] protocols are allowed, not [{protocol}] (setting input_protocols)"


UNBOUND = InputPolicy(local_paths=("/",))
"""Of a peon that somebody starts by hand: he may read those files anyway."""


@cache
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def _all_forms(ip: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    yield ip
    if ip.is_unspecified:  # to whoever connects there it is this machine
        yield from _LOOPBACK
    if isinstance(ip, IPv6Address):
        if ip in _COMPATIBLE and int(ip) > 1:
            yield IPv4Address(int(ip))
        if ip.ipv4_mapped is not None:
            yield ip.ipv4_mapped
        if ip.sixtofour is not None:
            yield ip.sixtofour
        if ip in _NAT64:
            yield IPv4Address(int(ip) & 0xFFFF_FFFF)
