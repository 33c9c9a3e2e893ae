"""
More memory for an attempt whose predecessor ran out of it.

Limit and request grow by the same factor, so that a pod keeps its quality of service, up to a cap.
"""

from collections.abc import Mapping
from typing import Any

from overlord_operator.pod.quantity import bytes_of, memory_text


def with_more_memory(resources: Mapping[str, Any], factor: float, times: int, cap: str | None) -> dict[str, Any]:
    """The resources after `times` ends for want of memory; as they are where there were none, or no memory is named."""
    result = dict(resources)
    if times <= 0:
        return result
    most = None if cap is None else bytes_of(cap)
    for kind in ("requests", "limits"):
        amounts: dict[str, Any] = dict(result.get(kind) or {})
        before = bytes_of(amounts.get("memory"))
        if before is None:
            continue
        after = _grown(before, factor, times, most)
        if after > before:
            amounts["memory"] = memory_text(after)
            result[kind] = amounts
    return result


def can_have_more_memory(resources: Mapping[str, Any], factor: float, times: int, cap: str | None) -> bool:
    """
    Whether one more attempt would have more memory than the last, which followed `times` ends for want of memory.

    False at the cap, and where no limit is named: the node itself was short then, and would be again.
    """
    limit = bytes_of((resources.get("limits") or {}).get("memory"))
    if limit is None:
        return False
    most = None if cap is None else bytes_of(cap)
    return _grown(limit, factor, times + 1, most) > _grown(limit, factor, times, most)


def _grown(size: int, factor: float, times: int, most: int | None) -> int:
    grown = int(size * factor**times)
    # a cap below what was asked for takes nothing away
    return grown if most is None else max(size, min(grown, most))
