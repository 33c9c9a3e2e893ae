"""Writes the golden files of the chart anew: `python -m tests.chart.write_goldens`."""

from tests.support.chart import GOLDEN, golden, value_sets

if __name__ == "__main__":
    for values in value_sets():
        (GOLDEN / values.name).write_text(golden(values))
        print(GOLDEN / values.name)
