"""
One pod laid over another, as a person would expect it: maps key by key, lists by the names in them.

The rules of Kubernetes' strategic merge patch, as far as pods need them. A null takes away what is below.
"""

from collections.abc import Mapping
from typing import Any, cast

from overlord_operator.pod.quantity import amount_of

JsonObject = dict[str, Any]

_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "protocol"),
    "hostAliases": ("ip",),
    "tolerations": ("key", "operator", "effect"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "schedulingGates": ("name",),
}
"""By which fields the items of a list are known. Lists that are not here are replaced (command, args) or joined."""

_JOINED = frozenset({"envFrom"})
"""Lists whose items have no name: what lies above comes after, and so wins."""

_WHOLE = frozenset({"env", "volumes", "tolerations"})
"""Lists whose items are replaced whole: a variable has a value or a source, a volume is of one kind."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> JsonObject:
    """`above` laid over `below`. Neither is changed."""
    result: JsonObject = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif key == "resources" and isinstance(value, Mapping):
            result[key] = merged_resources(result.get(key) or {}, cast("Mapping[str, Any]", value))
        elif isinstance(value, Mapping):
            under = result.get(key)
            result[key] = merged(
                cast("Mapping[str, Any]", under) if isinstance(under, Mapping) else {},
                cast("Mapping[str, Any]", value),
            )
        elif isinstance(value, list) and isinstance(result.get(key), list):
            result[key] = _merged_list(key, result[key], cast("list[Any]", value))
        else:
            result[key] = value
    return result


def merged_resources(below: Mapping[str, Any], above: Mapping[str, Any]) -> JsonObject:
    """
    Requests and limits, each by its resource.

    Kubernetes refuses a request above its limit. Where `above` gives only one of the two and they no longer fit, the
    other follows it: who asks for 8Gi means 8Gi, and need not know what the release had as its limit.
    """
    result: JsonObject = {**below, **{key: value for key, value in above.items() if key not in ("requests", "limits")}}
    requests: JsonObject = _without_nulls({**(below.get("requests") or {}), **(above.get("requests") or {})})
    limits: JsonObject = _without_nulls({**(below.get("limits") or {}), **(above.get("limits") or {})})
    for resource in requests.keys() & limits.keys():
        request, limit = amount_of(requests[resource]), amount_of(limits[resource])
        if request is None or limit is None or request <= limit:
            continue
        if resource not in (above.get("limits") or {}):
            limits[resource] = requests[resource]
        elif resource not in (above.get("requests") or {}):
            requests[resource] = limits[resource]
    for key, value in (("requests", requests), ("limits", limits)):
        if value:
            result[key] = value
        else:
            result.pop(key, None)
    return result


def _without_nulls(values: JsonObject) -> JsonObject:
    return {key: value for key, value in values.items() if value is not None}


def _merged_list(key: str, below: list[Any], above: list[Any]) -> list[Any]:
    if key in _JOINED:
        return [*(item for item in below if item not in above), *above]
    fields = _KEYS.get(key)
    if fields is None:
        return above
    result: dict[object, Any] = {_name_of(item, fields): item for item in below}
    for item in above:
        name = _name_of(item, fields)
        under = result.get(name)
        result[name] = item if under is None or key in _WHOLE else merged(under, item)
    return list(result.values())


def _name_of(item: object, fields: tuple[str, ...]) -> object:
    if not isinstance(item, Mapping):
        return repr(item)
    return tuple(cast("Mapping[str, Any]", item).get(field) for field in fields)
