"""
The distinct row values of a string dimension, in the segment's order.

Rows refer to entries by number, so that a row is one integer whatever it holds, one text or a list of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon.arrow import compute as pc
from peon.build.values import StringValues
from peon.segment.string_order import sort_utf16

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Lists:
    """What entries hold when some hold several texts: entry e has texts `ids[offsets[e]:offsets[e + 1]]`."""

    offsets: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.int32]
    """The entries' places in the order of rows; an empty list and a null share theirs."""


@dataclass(frozen=True, slots=True)
class Entries:
    """
    Row values in ascending order.

    texts: the dictionary: distinct texts in UTF-16 order, null first where a row is null or an empty list
    lists: None where every row holds exactly one text; entry e is then text e. Whether a row was null or an empty list
           matters once another row turns out to hold several texts, which may be in another run
    """

    texts: pa.StringArray
    lists: Lists | None

    def __len__(self) -> int:
        return len(self.texts) if self.lists is None else len(self.lists.ranks)

    @property
    def multi_value(self) -> bool:
        """Whether some entry holds two texts or more; empty lists alone do not make a column multi-valued."""
        return self.lists is not None and int(np.diff(self.lists.offsets).max()) > 1

    def single_texts(self) -> Codes:
        """The one text of each entry, an empty list's being null; for columns that are not multi-valued."""
        if self.lists is None:
            return np.arange(len(self.texts), dtype=np.int32)
        texts = np.zeros(len(self), np.int32)
        texts[np.diff(self.lists.offsets) == 1] = self.lists.ids
        return texts

    def ranks_of(self, codes: Codes) -> Codes:
        """The places of rows in the order of rows."""
        return codes if self.lists is None else self.lists.ranks[codes]

    def as_values(self) -> StringValues:
        """One row for each entry, to be united with others."""
        codes = np.arange(len(self), dtype=np.int32)
        if self.lists is None:
            return StringValues(codes, self.texts, {})
        lengths = np.diff(self.lists.offsets)
        firsts = np.zeros(len(self), np.int64)
        firsts[lengths == 1] = self.lists.ids[self.lists.offsets[:-1][lengths == 1]]
        texts = self.texts.take(pa.array(firsts))
        known = self.texts.to_pylist()
        lists = {
            int(entry): tuple(
                known[text] for text in self.lists.ids[self.lists.offsets[entry] : self.lists.offsets[entry + 1]]
            )
            for entry in np.flatnonzero(lengths != 1)
        }
        return StringValues(codes, texts, lists)


def unite(parts: Sequence[StringValues]) -> tuple[Codes, Entries]:
    """
    Values of several parts as one: the entries that some row holds, and each row's entry, parts one after the other.
    """
    offsets = np.cumsum([0, *(len(part.texts) for part in parts)])
    codes = np.concatenate([part.codes + np.int32(offset) for part, offset in zip(parts, offsets[:-1], strict=True)])
    texts = pa.concat_arrays([part.texts for part in parts])
    held = np.zeros(len(texts), np.bool_)
    held[codes] = True
    lists = {
        int(offset) + code: values
        for part, offset in zip(parts, offsets[:-1], strict=True)
        for code, values in part.lists.items()
        if held[offset + code]
    }
    if lists:
        return _unite_lists(codes, texts, held, lists)
    new_codes, dictionary = _dictionary(texts, held)
    return new_codes[codes], Entries(dictionary, None)


def _dictionary(texts: pa.StringArray, held: npt.NDArray[np.bool_]) -> tuple[Codes, pa.StringArray]:
    """The distinct texts among those held, sorted, and for each old code its text's place."""
    encoded = pc.dictionary_encode(texts.filter(pa.array(held)), null_encoding="encode")
    distinct: pa.StringArray = encoded.dictionary
    order = sort_utf16(distinct)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    codes = np.zeros(len(texts), np.int32)
    codes[held] = place[encoded.indices.to_numpy(zero_copy_only=False)]
    return codes, distinct.take(pa.array(order))


def _unite_lists(
    codes: Codes, texts: pa.StringArray, held: npt.NDArray[np.bool_], lists: dict[int, tuple[str | None, ...]]
) -> tuple[Codes, Entries]:
    single = held.copy()
    single[list(lists)] = False
    inside = [text for values in lists.values() for text in values or (None,)]
    every = pa.concat_arrays([texts, pa.array(inside, pa.string())])
    wanted = np.concatenate([single, np.ones(len(inside), np.bool_)])
    places, dictionary = _dictionary(every, wanted)

    # Each held code as the tuple of its text ids; then the distinct tuples in order.
    following = iter(places[len(texts) :].tolist())
    tuples: dict[int, tuple[int, ...]] = {code: (int(places[code]),) for code in np.flatnonzero(single).tolist()}
    for code, values in lists.items():
        ids = tuple(next(following) for _ in values or (None,))
        tuples[code] = ids if values else ()
    null_first = [(0,) if ids == () else ids for ids in tuples.values()]
    distinct = sorted(set(zip(null_first, tuples.values(), strict=True)))
    entry_of = {ids: entry for entry, (_, ids) in enumerate(distinct)}
    new_codes = np.zeros(len(texts), np.int32)
    new_codes[list(tuples)] = [entry_of[ids] for ids in tuples.values()]

    order_keys = [key for key, _ in distinct]
    changed = [entry > 0 and key != order_keys[entry - 1] for entry, key in enumerate(order_keys)]
    ranks = np.cumsum(changed, dtype=np.int32)
    lengths = [len(ids) for _, ids in distinct]
    flat = np.array([text for _, ids in distinct for text in ids], np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return new_codes[codes], Entries(dictionary, Lists(offsets, flat, ranks.astype(np.int32)))
