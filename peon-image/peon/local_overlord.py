"""The answers of an Overlord, given by the peon itself when it runs alone."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from druid_core.errors import TaskFailure
from druid_core.granularity import parse_granularity
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import Interval

_log = logging.getLogger(__name__)

_DEFAULT_PRIORITY = 50


class LocalOverlord:
    """
    Grants every lock, numbers every segment, and writes down what is published in `segments_file`, a JSON array.

    There is nobody else: nothing can conflict, nothing was there before. Takes and returns the same JSON as the real
    one, so that whatever works alone has used the same words. `clock` returns milliseconds UTC.
    """

    def __init__(self, group_id: str, data_source: str, segments_file: Path, clock: Callable[[], int]) -> None:
        self._group_id = group_id
        self._data_source = data_source
        self._segments_file = segments_file
        self._clock = clock
        self._locks: dict[str, dict[str, Any]] = {}
        self._allocated: dict[tuple[str, str | None], dict[str, Any]] = {}
        self._published: list[dict[str, Any]] = []

    def answer(self, raw_action: dict[str, Any]) -> Any:
        """The result of an action. Raises TaskFailure where only a real Overlord could answer."""
        match raw_action["type"]:
            case "lockTryAcquire" | "lockAcquire":
                return self._lock(raw_action["interval"], raw_action.get("lockType"))
            case "lockRelease":
                self._locks.pop(raw_action["interval"], None)
                return None
            case "lockList":
                return list(self._locks.values())
            case "segmentAllocate":
                return self._allocate(raw_action)
            case "segmentTransactionalInsert" | "segmentTransactionalAppend" | "segmentTransactionalReplace":
                return self._publish(raw_action["segments"])
            case "segmentListUsed" | "segmentListUnused" | "retrieveSegmentsById":
                return []
            case "retrieveUpgradedFromSegmentIds":
                return {"upgradedFromSegmentIds": {}}
            case "retrieveUpgradedToSegmentIds":
                return {"upgradedToSegmentIds": {}}
            case "segmentNuke" | "updateStatus" | "updateLocation":
                return None
            case unknown:
                raise TaskFailure(
                    f"A peon that runs alone cannot perform the action [{unknown}]; give it an --overlord"
                )

    def _lock(self, interval: str, lock_type: str | None) -> dict[str, Any]:
        wanted = Interval.parse(interval)
        for held in self._locks.values():
            if Interval.parse(held["interval"]).covers(wanted):
                return held
        self._locks[str(wanted)] = {
            "type": lock_type or "EXCLUSIVE",
            "groupId": self._group_id,
            "dataSource": self._data_source,
            "interval": str(wanted),
            "version": format_instant(self._clock()),
            "priority": _DEFAULT_PRIORITY,
            "revoked": False,
        }
        return self._locks[str(wanted)]

    def _allocate(self, raw_action: dict[str, Any]) -> dict[str, Any]:
        sequence = (raw_action["sequenceName"], raw_action.get("previousSegmentId"))
        if sequence not in self._allocated:
            granularity = parse_granularity(raw_action["preferredSegmentGranularity"])
            chunk = granularity.bucket(parse_instant(raw_action["timestamp"]))
            lock = self._lock(str(chunk), raw_action.get("taskLockType"))
            number = sum(other["interval"] == str(chunk) for other in self._allocated.values())
            self._allocated[sequence] = {
                "dataSource": self._data_source,
                "interval": str(chunk),
                "version": lock["version"],
                "shardSpec": {"type": "numbered", "partitionNum": number, "partitions": 0},
            }
        return self._allocated[sequence]

    def _publish(self, raw_segments: list[dict[str, Any]]) -> dict[str, Any]:
        self._published += raw_segments
        self._segments_file.write_bytes(orjson.dumps(self._published, option=orjson.OPT_INDENT_2))
        for raw_segment in raw_segments:
            _log.info("Segment [%s] is stored; no Overlord to publish it to", raw_segment.get("identifier"))
        return {"segments": raw_segments, "success": True, "retryable": False, "errorMsg": None}
