"""One task of Airflow, without its scheduler: `airflow_ingestion.py SPEC [MAX_SECONDS]`; the rest by environment."""

# It runs in the client's own environment, which the type checker does not see.
# pyright: basic, reportMissingImports=false

import sys
from pathlib import Path

from airflow.providers.apache.druid.operators.druid import DruidOperator

spec, *limit = sys.argv[1:]
operator = DruidOperator(
    task_id="ingest",
    json_index_file=Path(spec).read_text(),  # its template is rendered by the scheduler
    max_ingestion_time=int(limit[0]) if limit else None,
)
operator.execute({})
