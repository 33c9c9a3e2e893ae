"""What a denied network denies, in whatever clothes an address of it comes."""

import pytest

from druid_core.errors import InvalidInput
from druid_core.input_policy import InputPolicy

LOOPBACK = InputPolicy(denied_networks=("127.0.0.0/8", "::1/128"))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"],
)
def test_this_machine_is_denied_by_every_name_of_its(address: str) -> None:
    with pytest.raises(InvalidInput, match="is denied"):
        LOOPBACK.check_address("somewhere", address)


@pytest.mark.parametrize("address", ["10.0.0.1", "::10.0.0.1", "2001:db8::1"])
def test_others_are_not(address: str) -> None:
    LOOPBACK.check_address("somewhere", address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1"])
def test_what_is_not_denied_may_be_read_from(address: str) -> None:
    InputPolicy().check_address("somewhere", address)
