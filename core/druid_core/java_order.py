"""
The order in which Java's hash maps print their keys.

Druid keeps a task's context and a dimensionsSpec's exclusions in one; its answers show the order.
"""

from collections.abc import Iterable
from functools import lru_cache

_LEAST_CAPACITY = 16
_LOAD_FACTOR = 0.75


def hash_order(keys: Iterable[str], capacity: int) -> list[str]:
    """
    Keys as a HashMap of `capacity` slots (a power of two) lists them; those that share a slot keep their order.

    Right while no slot holds eight keys, from where on Java grows a tree.
    """
    return sorted(keys, key=lambda key: _spread_hash(key) & (capacity - 1))


def set_order(keys: Iterable[str]) -> list[str]:
    """Distinct keys in the order of a HashSet that is made of them at once."""
    distinct = list(dict.fromkeys(keys))
    return hash_order(distinct, max(_LEAST_CAPACITY, copied_capacity(len(distinct))))


def copied_capacity(size: int) -> int:
    """The slots of a HashMap that is copied from a map of `size` keys, 16 of an empty one."""
    return _power_of_two(int(size / _LOAD_FACTOR + 1.0)) if size else _LEAST_CAPACITY


def grown_capacity(capacity: int, size: int) -> int:
    """The slots of a HashMap of `capacity` after keys were put in, one by one, up to `size` keys."""
    while size > capacity * _LOAD_FACTOR:
        capacity *= 2
    return capacity


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 0).bit_length()


@lru_cache(maxsize=4096)
def _spread_hash(key: str) -> int:
    """What Java's HashMap makes of a key: String.hashCode over UTF-16, its upper half folded in ."""
    value = 0
    if key.isascii():
        for unit in key.encode("ascii"):
            value = (31 * value + unit) & 0xFFFFFFFF
    else:
        encoded = key.encode("utf-16-be", "surrogatepass")
        for high, low in zip(encoded[::2], encoded[1::2], strict=True):
            value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    return value ^ (value >> 16)
