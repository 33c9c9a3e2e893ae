"""What a datasource's configuration was over time, told from the audit. Druid: DataSourceCompactionConfigHistory"""

from collections.abc import Iterable
from typing import Any

import orjson

from overlord.compaction.config import CompactionConfig


def history_of(data_source: str, oldest_first: Iterable[bytes]) -> list[dict[str, Any]]:
    """
    The entries of the audit at which something changed for the datasource, oldest first.

    A change of the cluster's configuration is one for each datasource that has its own; a deletion has a null.
    """
    found: list[dict[str, Any]] = []
    before: tuple[Any, Any] = (None, None)
    for payload in oldest_first:
        entry: dict[str, Any] = orjson.loads(payload)
        config = CompactionConfig.parse(entry.get("payload"))
        own = config.data_sources.get(data_source)
        cluster = config.cluster.to_wire()
        if own is None and before[1] is None:
            continue
        if (cluster, own) != before:
            found.append(
                {
                    "globalConfig": cluster,
                    "compactionConfig": own,
                    "auditInfo": entry.get("auditInfo"),
                    "auditTime": entry.get("auditTime"),
                }
            )
        before = (cluster, own)
    return found
