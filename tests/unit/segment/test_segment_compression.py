import lz4.block
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peon.segment.compression import MAX_BLOCK_BYTES, Compression

NUMBERS = st.integers(0, 2**32 - 1)


def _values(seed: int, kind: str, size: int) -> bytes:
    """Blocks as columns have them: ids, sorted times, small numbers in eight bytes, noise, repetition."""
    random = np.random.default_rng(seed)
    match kind:
        case "ids":
            return random.integers(0, 1 + seed % 60_000, size // 2 + 1).astype("<u2").tobytes()[:size]
        case "times":
            return np.cumsum(random.integers(0, 100, size // 8 + 1)).astype("<i8").tobytes()[:size]
        case "small":
            return random.integers(0, 1 + seed % 3000, size // 8 + 1).astype("<i8").tobytes()[:size]
        case "noise":
            return random.bytes(size)
        case _:
            return (random.bytes(1 + seed % 300) * (size + 1))[:size]


@settings(max_examples=60, deadline=None)
@given(
    seed=NUMBERS,
    kind=st.sampled_from(["ids", "times", "small", "noise", "repeated"]),
    size=st.sampled_from([0, 1, 4, 12, 13, 14, 1000, MAX_BLOCK_BYTES - 1, MAX_BLOCK_BYTES]) | st.integers(0, 5000),
)
def test_lz4_blocks_are_those_of_the_reference_library_at_druids_level(seed: int, kind: str, size: int) -> None:
    block = _values(seed, kind, size)
    expected = lz4.block.compress(block, mode="high_compression", compression=9, store_size=False)
    assert Compression.LZ4.compress(memoryview(block)) == expected


@pytest.mark.parametrize("compression", [Compression.LZ4, Compression.ZSTD, Compression.UNCOMPRESSED])
@given(block=st.binary(min_size=1, max_size=2000))
@settings(deadline=None)
def test_a_block_expands_to_itself(compression: Compression, block: bytes) -> None:
    assert compression.decompress(compression.compress(block), len(block), "file") == block
