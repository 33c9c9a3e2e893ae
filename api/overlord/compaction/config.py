"""
The compaction configuration of the whole cluster: one row of `druid_config`. Druid: DruidCompactionConfig

What is not understood of a stored one is kept as it is: a Coordinator may understand it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
from starlette.requests import Request

from druid_core.compaction import ClusterCompactionConfig, DataSourceCompactionConfig, stored_cluster_config
from druid_core.errors import NotFound
from overlord import configuration
from overlord.audit import author_of
from overlord.db.pool import Connection, transaction
from overlord.replica import replica_of

CONFIG_KEY = "coordinator.compaction.config"
"""Druid: DruidCompactionConfig.CONFIG_KEY"""

_DATA_SOURCES = "compactionConfigs"


@dataclass(frozen=True, slots=True)
class CompactionConfig:
    """The configuration as it is stored, and as it is meant."""

    stored: dict[str, Any]

    @classmethod
    def parse(cls, payload: bytes | str | None) -> "CompactionConfig":
        """What is no JSON object, because nothing was set or a person broke it, is the empty one."""
        try:
            value: Any = orjson.loads(payload or b"{}")
        except orjson.JSONDecodeError:
            value = {}
        return cls(value if isinstance(value, dict) else {})

    @property
    def cluster(self) -> ClusterCompactionConfig:
        return stored_cluster_config(self.stored)

    @property
    def data_sources(self) -> dict[str, dict[str, Any]]:
        """The configuration of each datasource, in the order of their names."""
        listed = self.stored.get(_DATA_SOURCES)
        configs = cast("list[Any]", listed) if isinstance(listed, list) else []
        named = {str(config.get("dataSource")): config for config in configs if isinstance(config, dict)}
        return dict(sorted(named.items()))

    def data_source(self, name: str) -> dict[str, Any]:
        """Raises NotFound."""
        config = self.data_sources.get(name)
        if config is None:
            raise NotFound("Datasource compaction config does not exist")
        return config

    def with_cluster(self, cluster: ClusterCompactionConfig) -> "CompactionConfig":
        return CompactionConfig({_DATA_SOURCES: [], **self.stored, **cluster.to_wire()})

    def with_data_source(self, config: DataSourceCompactionConfig) -> "CompactionConfig":
        return self._with({**self.data_sources, config.data_source: config.to_wire()})

    def without_data_source(self, name: str) -> "CompactionConfig":
        """Raises NotFound."""
        self.data_source(name)
        return self._with({each: config for each, config in self.data_sources.items() if each != name})

    def _with(self, configs: Mapping[str, dict[str, Any]]) -> "CompactionConfig":
        listed = [config for _, config in sorted(configs.items())]
        known = {_DATA_SOURCES: listed, **self.cluster.to_wire()}
        return CompactionConfig({**known, **self.stored, _DATA_SOURCES: listed})


async def read(tx: Connection) -> CompactionConfig:
    """What is set now."""
    return CompactionConfig.parse(await configuration.read(tx, CONFIG_KEY))


async def change(request: Request, changed: Callable[[CompactionConfig], CompactionConfig]) -> None:
    """Set what `changed` makes of what is set now; nothing is written, nor audited, where that is the same."""
    replica = replica_of(request)
    async with transaction(replica.pool) as tx:
        await configuration.lock(tx, CONFIG_KEY)
        before = await read(tx)
        after = changed(before)
        if after != before:
            await configuration.write(
                tx, CONFIG_KEY, orjson.dumps(after.stored), author_of(request), replica.clock_ms()
            )
