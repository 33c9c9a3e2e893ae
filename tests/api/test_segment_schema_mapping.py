"""
The schemas that a Java peon may send along with its segments: taken and left aside, as in Druid unless it is told to.

Druid keeps them only with `druid.centralizedDatasourceSchema.enabled`, which is false by default
(IndexerSQLMetadataStorageCoordinator, CentralizedDatasourceSchemaConfig).
"""

from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool
from tests.support.actions import segment, start

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"

LOCK_FOR = {
    "segmentTransactionalInsert": "EXCLUSIVE",
    "segmentTransactionalAppend": "APPEND",
    "segmentTransactionalReplace": "REPLACE",
}


def mapping(segment_id: str) -> dict[str, Any]:
    """What a Java peon sends for one segment. Druid: SegmentSchemaMapping"""
    return {
        "segmentIdToMetadataMap": {segment_id: {"numRows": 24, "schemaFingerprint": "4F3A"}},
        "schemaFingerprintToPayloadMap": {
            "4F3A": {
                "rowSignature": [{"name": "__time", "type": "LONG"}, {"name": "page", "type": "STRING"}],
                "aggregators": {},
            }
        },
        "schemaVersion": 1,
    }


@pytest.mark.parametrize("version_of_schema", [1, 2])
@pytest.mark.parametrize("action", LOCK_FOR)
async def test_a_schema_sent_along_changes_nothing_of_what_is_published(
    overlord: AsyncClient, pool: Pool, action: str, version_of_schema: int
) -> None:
    published: list[dict[str, Any]] = []
    for data_source in ("plain", "described"):
        peon = await start(overlord, f"task-{data_source}", data_source)
        version = (await peon.lock(DAY, LOCK_FOR[action]))["version"]
        sent = segment(DAY, version, data_source=data_source)
        schemas = mapping(sent.id) | {"schemaVersion": version_of_schema} if data_source == "described" else None
        result = await peon.perform(action, segments=[sent.to_wire()], segmentSchemaMapping=schemas)
        assert result["success"] is True
        assert result["segments"] == [sent.to_wire()]
        (row,) = await pool.fetch("SELECT * FROM druid_segments WHERE datasource = $1", data_source)
        assert orjson.loads(row["payload"]) == sent.to_wire()
        published.append(dict(row))
    plain, described = published
    its_own = {"id", "datasource", "version", "created_date", "used_status_last_updated", "payload"}
    assert {name: plain[name] for name in plain if name not in its_own} == {
        name: described[name] for name in described if name not in its_own
    }
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE tablename ILIKE '%segmentschemas%'")
    assert tables == []
