"""Airflow's Druid provider: it hands in a task, asks for its status until the end, and ends one that takes too long."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.support.clients.environment import PROGRAMS, client_python

_PATIENCE_SECONDS = 240


def ingest(
    port: int, task: Mapping[str, Any], folder: Path, *, user: str, password: str, at_most_seconds: int | None = None
) -> subprocess.CompletedProcess[str]:
    """
    The DruidOperator over `task`, against the Overlord at `port` of this machine: its exit status, and what it said.

    `at_most_seconds` is its `max_ingestion_time`. Raises ClientMissing.
    """
    python = client_python("airflow")
    spec = folder / "spec.json"
    spec.write_bytes(orjson.dumps(task))
    connection = {
        "conn_type": "http",
        "host": "127.0.0.1",
        "port": port,
        "login": user,
        "password": password,
        "extra": {"endpoint": "druid/indexer/v1/task"},
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_DRUID_INGEST_DEFAULT": orjson.dumps(connection).decode(),
    }
    limit = [] if at_most_seconds is None else [str(at_most_seconds)]
    return subprocess.run(
        [str(python), str(PROGRAMS / "airflow_ingestion.py"), str(spec), *limit],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
