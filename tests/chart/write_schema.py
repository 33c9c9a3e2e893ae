"""Writes what the chart's schema says of settings anew: `python -m tests.chart.write_schema`."""

import json

from tests.support.settings_schema import SCHEMA, with_settings, written

if __name__ == "__main__":
    SCHEMA.write_text(written(with_settings(json.loads(SCHEMA.read_text()))))
    print(SCHEMA)
