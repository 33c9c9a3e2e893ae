"""What others than a task's own peon may not see of it: passwords, keys, tokens."""

from collections.abc import Mapping
from typing import Any, cast


def without_secrets(value: Any) -> Any:
    """JSON with the values of secret fields covered; what holds none is returned as it is, not copied."""
    if isinstance(value, Mapping):
        changed: dict[str, Any] = {}
        fields = cast("dict[str, Any]", value)
        for name, item in fields.items():
            if name in _SECRET_FIELDS and isinstance(item, str):
                changed[name] = _COVER
            elif name == "requestHeaders" and isinstance(item, dict):
                changed[name] = dict.fromkeys(cast("dict[str, Any]", item), _COVER)
            elif isinstance(item, dict | list) and (clean := without_secrets(item)) is not item:
                changed[name] = clean
        return {**fields, **changed} if changed else fields
    if isinstance(value, list):
        items = cast("list[Any]", value)
        cleaned = [without_secrets(item) if isinstance(item, dict | list) else item for item in items]
        return cleaned if any(new is not old for new, old in zip(cleaned, items, strict=True)) else items
    return value


_COVER = "********"
_SECRET_FIELDS = frozenset(
    {
        "password",
        "httpAuthenticationPassword",
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "sharedAccessStorageToken",
        "key",
        "appRegistrationClientSecret",
        "secret",
        "token",
        "sasl.jaas.config",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.truststore.password",
    }
)
