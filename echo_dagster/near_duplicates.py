"""Near duplicates: samples that say, context and C_N together, almost what an earlier sample says.

MinHash over 5-grams of tokens (Broder 1997) estimates how alike two samples are, and locality-sensitive hashing finds
the few pairs that are worth comparing. Samples are taken in order, and one that is like a sample that was kept is
dropped, so that nothing is dropped by a chain of likeness. Cost is linear in the samples, and memory is 500 bytes each.

What does not live here: exact duplicates (`content_hash` of a sample), and which samples are compared: those of a
training window (`refinery/window.py`), and the held-out ones with what was trained on (`evaluation/day.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio

#: Words and single signs.
_TOKEN = r"\w+|[^\w\s]"
_GRAM_TOKENS = 5
#: Ends a text, so that each of its tokens begins a gram.
_PAD = "¶" * (_GRAM_TOKENS - 1)
#: What is compared of a sample: as much of its context as of exact duplicates.
COMPARED = (pl.col("prefix").str.tail(400), pl.col("middle"), pl.col("suffix").str.head(200))
#: Samples that share 0.7 of their 5-grams meet in one of 25 bands of 5 numbers with probability 0.99.
_BANDS, _BAND_ROWS = 25, 5
_PERMUTATIONS = _BANDS * _BAND_ROWS
#: A new sample is compared with so many of those that it meets in a band: boilerplate must not cost quadratic time.
_MOST_COMPARED = 8
_BATCH = 1_000

#: Multipliers: of the tokens of a gram, and of the numbers of a band.
_ODD = np.random.default_rng(2105).integers(0, 2**63, size=_GRAM_TOKENS, dtype=np.uint64) * 2 + 1
_FACTORS = np.random.default_rng(21984).integers(0, 2**31, size=_PERMUTATIONS, dtype=np.uint32) * 2 + 1
_SHIFTS = np.random.default_rng(21985).integers(0, 2**32, size=_PERMUTATIONS, dtype=np.uint32)

Signatures = NDArray[np.uint32]


def near_duplicates(samples: Iterable[pl.DataFrame], similarity: float) -> pl.DataFrame:
    """Find the samples that are nearly the same as an earlier one that stays.

    Two samples are where context and C_N together share at least `similarity` of their 5-grams (the Jaccard index, as
    MinHash estimates it) and C_N alone is as alike (Indel similarity): what is typed at the same place shares its
    context, and is no duplicate for that.

    Args:
        samples: frames with sample_id and `COMPARED`, together in the order of precedence.
        similarity: from 0 to 1.

    Returns:
        sample_id, `like` (the sample that stays) and `similarity` (of 5-grams) of each that does not stay.
    """
    return _found(_sketched(samples), similarity)


def near_duplicates_of(
    known: Iterable[pl.DataFrame], samples: Iterable[pl.DataFrame], similarity: float
) -> pl.DataFrame:
    """Find the samples that are nearly the same as a known one, as `near_duplicates` finds those of each other.

    Args:
        known: frames of samples, each with sample_id and `COMPARED`.
        samples: frames of those to ask about; what they have in common does not matter.
        similarity: from 0 to 1.
    """
    before, asked = _sketched(known), _sketched(samples)
    both = _Sketched(
        before.ids + asked.ids, before.middles + asked.middles, np.concatenate([before.signed, asked.signed])
    )
    return _found(both, similarity, n_known=len(before.ids))


class _Sketched(NamedTuple):
    ids: list[str]
    middles: list[str]
    signed: Signatures


def _sketched(samples: Iterable[pl.DataFrame]) -> _Sketched:
    ids: list[str] = []
    middles: list[str] = []
    parts = [np.empty((0, _PERMUTATIONS), np.uint32)]
    for frame in samples:
        for batch in frame.iter_slices(_BATCH):
            ids += batch.get_column("sample_id").to_list()
            middles += batch.get_column("middle").str.strip_chars().to_list()
            whole = pl.concat_str(pl.col("prefix", "middle", "suffix").fill_null(""))
            parts.append(signatures(batch.select(whole).to_series()))
    return _Sketched(ids, middles, np.concatenate(parts))


def _found(sketched: _Sketched, similarity: float, n_known: int | None = None) -> pl.DataFrame:
    ids, middles, signed = sketched
    found = [
        (ids[sample], ids[like], estimate)
        for sample, like, estimate in _repeats(signed, middles, similarity, n_known)
    ]
    schema = {"sample_id": pl.String(), "like": pl.String(), "similarity": pl.Float64()}
    return pl.DataFrame(found, schema=schema, orient="row")


def signatures(texts: pl.Series) -> Signatures:
    """Return the MinHash signatures of texts: for each permutation of the 5-grams' hashes the least one.

    The shape is (texts, `_PERMUTATIONS`). A text without a token gets the greatest numbers there are.
    """
    tokens = (texts + _PAD).str.extract_all(_TOKEN)
    counts = tokens.list.len().to_numpy().astype(np.int64)
    words = tokens.explode()
    known = words.unique()
    hashes = pl.Series([crc32(word.encode()) for word in known.to_list()], dtype=pl.UInt64())
    hashed = words.replace_strict(known, hashes).to_numpy()
    summed = np.zeros(max(len(hashed) - len(_PAD), 0), np.uint64)
    for at in range(_GRAM_TOKENS):
        summed += hashed[at : at + len(summed)] * _ODD[at]
    ends = np.cumsum(counts)
    begins = np.ones(len(hashed), bool)
    for back in range(1, _GRAM_TOKENS):
        begins[ends - back] = False  # the pads begin no gram
    grams = (summed[begins[: len(summed)]] >> np.uint64(32)).astype(np.uint32)
    n_grams = counts - len(_PAD)
    held = n_grams > 0
    starts = (np.cumsum(n_grams) - n_grams)[held]
    signed = np.full((len(texts), _PERMUTATIONS), np.iinfo(np.uint32).max)
    if len(starts):
        for number, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS, strict=True)):
            signed[held, number] = np.minimum.reduceat(grams * factor + shift, starts)
    return signed


def _repeats(
    signed: Signatures, middles: list[str], similarity: float, n_known: int | None
) -> Iterator[tuple[int, int, float]]:
    """Yield each sample that does not stay, the one that stays in its place, and how alike they are.

    The first `n_known` stay whatever they are like, and the others are compared with these alone. Null: with all before
    them that stay.
    """
    kept: defaultdict[int, list[int]] = defaultdict(list)  # the samples that stay, by bucket
    for sample, buckets in _shared_buckets(signed):
        is_known = n_known is not None and sample < n_known
        alike = [] if is_known else sorted({other for bucket in buckets for other in kept[bucket]})
        estimates = (signed[alike] == signed[sample]).mean(axis=1).tolist() if alike else []
        for other, estimate in zip(alike, estimates, strict=True):
            if estimate >= similarity and ratio(middles[other], middles[sample]) >= 100 * similarity:
                yield sample, other, estimate
                break
        else:
            for bucket in buckets if n_known is None or is_known else ():
                if len(kept[bucket]) < _MOST_COMPARED:
                    kept[bucket].append(sample)


def _shared_buckets(signed: Signatures) -> Iterator[tuple[int, list[int]]]:
    """Yield the samples, in their order, that stand in a bucket with another one, and their buckets."""
    pairs = []
    first = 0
    for band in range(_BANDS):
        rows = signed[:, band * _BAND_ROWS : (band + 1) * _BAND_ROWS].astype(np.uint64)
        keys = (rows * _ODD[:_BAND_ROWS]).sum(axis=1, dtype=np.uint64)
        _, bucket, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(sizes[bucket] > 1)
        pairs.append(np.stack([shared, bucket[shared] + first]))
        first += len(sizes)
    samples, buckets = np.concatenate(pairs, axis=1)
    order = np.argsort(samples, kind="stable")
    samples, buckets = samples[order], buckets[order]
    bounds = [*np.flatnonzero(np.diff(samples, prepend=-1)).tolist(), len(samples)]
    for start, stop in pairwise(bounds):
        yield int(samples[start]), buckets[start:stop].tolist()
