"""
Kubernetes' quantities: `500m`, `1.5Gi`, `2e9`. Druid has none.
"""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<unit>[eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i|)")
_DECIMAL_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_UNITS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def amount_of(text: object) -> Decimal | None:
    """The number that a quantity stands for; None for what is no quantity."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None:
        return None
    number, unit = Decimal(match["number"]), match["unit"]
    if unit in _BINARY_UNITS:
        return number * (1 << _BINARY_UNITS[unit])
    if unit in _DECIMAL_UNITS:
        return number.scaleb(_DECIMAL_UNITS[unit])
    return number.scaleb(int(unit[1:]))


def bytes_of(text: object) -> int | None:
    """Bytes of a quantity of memory or disk; None for what is no quantity."""
    amount = amount_of(text)
    return None if amount is None else int(amount)


def memory_text(size_bytes: int) -> str:
    """Bytes as a quantity that reads well: whole MiB, rounded up, in the greatest unit that fits."""
    mebibytes = -(-size_bytes // (1 << 20))
    return f"{mebibytes >> 10}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"
