"""
The forms that only huge segments take: several smoosh chunks, lists split over internal files. Limits are set small
here, so that a few thousand rows are huge.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from peon.segment.columns import Numbers, NumericColumn, RowBatch, SegmentSchema, StringColumn, StringIds, StringLists
from peon.segment.numeric import NumericKind
from peon.segment.write import SegmentWriter
from tests.peer.granularity_oracle import DAY
from tests.support.druid.workshop import Workshop

ROWS = 60_000
WORDS = [f"word {i:05d}" for i in range(5000)]


def write(folder: Path, max_chunk_bytes: int, max_indexed_bytes: int) -> None:
    folder.mkdir()
    dictionary = pa.array(WORDS)
    schema = SegmentSchema(
        (0, DAY),
        [StringColumn("word", dictionary), StringColumn("words", dictionary, multi_value=True)],
        [NumericColumn("n", NumericKind.LONG), NumericColumn("x", NumericKind.DOUBLE)],
    )
    numbers = np.arange(ROWS, dtype=np.int64)
    ids = (numbers * 7919 % len(WORDS)).astype(np.int32)
    columns = {
        "word": StringIds(ids),
        "words": StringLists(np.arange(0, 2 * ROWS + 1, 2), np.repeat(ids, 2)),
        "n": Numbers(numbers * 1_000_003),
        "x": Numbers(numbers / 4),
    }
    with SegmentWriter(folder, schema, max_chunk_bytes=max_chunk_bytes, max_indexed_bytes=max_indexed_bytes) as writer:
        writer.append(RowBatch(numbers, columns))
        writer.finish()


@pytest.mark.parametrize(
    ("max_chunk_bytes", "max_indexed_bytes"),
    [(1_000_000, 2**31 - 4096), (2**31 - 1, 60_000), (1_000_000, 60_000)],
    ids=["several chunks", "split lists", "split lists in several chunks"],
)
def test_druid_reads_every_row(
    max_chunk_bytes: int, max_indexed_bytes: int, workshop: Workshop, tmp_path: Path
) -> None:
    folder = tmp_path / "segment"
    write(folder, max_chunk_bytes, max_indexed_bytes)
    assert (folder / "00001.smoosh").exists() is (max_chunk_bytes == 1_000_000)
    dump = workshop.dump(folder, tmp_path / "dump")
    for i, row in enumerate(dump.rows):
        word = WORDS[i * 7919 % len(WORDS)]
        assert row == {"__time": i, "word": word, "words": [word, word], "n": i * 1_000_003, "x": i / 4}
    assert len(dump.rows) == ROWS
    assert dump.bitmaps["word"][WORDS[0]] == list(range(0, ROWS, len(WORDS)))
