"""Near duplicates: samples that say, context and C_N together, almost what an earlier sample says.

MinHash over 5-grams of tokens (Broder 1997) estimates how alike two samples are, and locality-sensitive hashing finds
the few pairs that are worth comparing. Samples are taken in order, and one that is like a sample that was kept is
dropped, so that nothing is dropped by a chain of likeness. Cost is linear in the samples. Memory holds of each sample
its signature (250 bytes), its C_N and its id, and some dozens of bytes for each band that it shares with another one;
the texts around C_N are read once and let go.

What does not live here: exact duplicates (`content_hash` of a sample), and which samples are compared: those of a
training window (`refinery/window.py`), and the held-out ones with what was trained on (`evaluation/day.py`).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio

_GRAM_TOKENS = 5
#: Ends a text, so that each of its tokens begins a gram: signs of a byte each.
_PAD = "\x01" * (_GRAM_TOKENS - 1)
#: What is compared of a sample: as much of its context as of exact duplicates.
COMPARED = (pl.col("prefix").str.tail(400), pl.col("middle"), pl.col("suffix").str.head(200))
#: Samples that share 0.7 of their 5-grams meet in one of 25 bands of 5 numbers with probability 0.99.
_BANDS, _BAND_ROWS = 25, 5
_PERMUTATIONS = _BANDS * _BAND_ROWS
#: A new sample is compared with so many of those that it meets in a band: boilerplate must not cost quadratic time.
_MOST_COMPARED = 8
_BATCH = 1_000

#: What a byte is part of. A character beyond ASCII, which takes several bytes, counts as a letter.
_SPACE, _WORD, _SIGN = 0, 1, 2
_KIND = np.full(256, _SIGN, np.uint8)
_KIND[[byte for byte in range(256) if byte >= 128 or chr(byte).isalnum() or chr(byte) == "_"]] = _WORD
_KIND[[byte for byte in range(128) if chr(byte).isspace()]] = _SPACE
#: A token is hashed as a polynomial, modulo 2**64, of random numbers that stand for its bytes; a blank adds nothing.
_BYTE = np.random.default_rng(730).integers(0, 2**63, size=256, dtype=np.uint64) * 2 + 1
_BYTE[_KIND == _SPACE] = 0
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)

#: Multipliers: of the tokens of a gram, and of the numbers of a band.
_ODD = np.random.default_rng(2105).integers(0, 2**63, size=_GRAM_TOKENS, dtype=np.uint64) * 2 + 1
_FACTORS = np.random.default_rng(21984).integers(0, 2**31, size=_PERMUTATIONS, dtype=np.uint32) * 2 + 1
_SHIFTS = np.random.default_rng(21985).integers(0, 2**32, size=_PERMUTATIONS, dtype=np.uint32)
_NO_TEXTS = pl.Series(dtype=pl.String())

Signatures = NDArray[np.uint16]


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
    return _found(_joined([before, asked]), similarity, n_known=len(before.ids))


class _Sketched(NamedTuple):
    ids: pl.Series
    middles: pl.Series
    signed: Signatures


def _sketched(samples: Iterable[pl.DataFrame]) -> _Sketched:
    """Return what is held of the samples; they are signed on all cores."""
    parts: list[_Sketched] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy and Polars work outside of Python's lock
        for frame in samples:
            parts += threads.map(_sketch, frame.iter_slices(_BATCH))
    return _joined(parts)


def _sketch(samples: pl.DataFrame) -> _Sketched:
    whole = pl.concat_str(pl.col("prefix", "middle", "suffix").fill_null(""))
    told = samples.select("sample_id", middle=pl.col("middle").str.strip_chars(), whole=whole)
    return _Sketched(told["sample_id"], told["middle"], signatures(told["whole"]))


def _joined(parts: list[_Sketched]) -> _Sketched:
    if not parts:
        return _Sketched(_NO_TEXTS, _NO_TEXTS, np.empty((0, _PERMUTATIONS), np.uint16))
    ids, middles, signed = zip(*parts, strict=True)
    return _Sketched(pl.concat(ids), pl.concat(middles), np.concatenate(signed))


def _found(sketched: _Sketched, similarity: float, n_known: int | None = None) -> pl.DataFrame:
    found = list(_repeats(sketched.signed, sketched.middles, similarity, n_known))
    places = pl.DataFrame(
        found, schema={"sample": pl.Int64(), "like": pl.Int64(), "similarity": pl.Float64()}, orient="row"
    )
    return places.select(
        sample_id=sketched.ids.gather(places["sample"]),
        like=sketched.ids.gather(places["like"]),
        similarity="similarity",
    )


def signatures(texts: pl.Series) -> Signatures:
    """Return the MinHash signatures of texts: for each permutation of the 5-grams' hashes the least one.

    The shape is (texts, `_PERMUTATIONS`). Of each its lower half is kept: two that differ share that once in 65,536
    times. A text without a token gets the greatest numbers there are.
    """
    grams, counts = _grams(texts)
    held = counts > 0
    signed = np.full((len(texts), _PERMUTATIONS), np.iinfo(np.uint16).max, np.uint16)
    if len(grams):
        starts = (np.cumsum(counts) - counts)[held]
        permuted = np.empty_like(grams)
        for number, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS, strict=True)):
            np.multiply(grams, factor, out=permuted)
            np.add(permuted, shift, out=permuted)
            signed[held, number] = np.minimum.reduceat(permuted, starts).astype(np.uint16)
    return signed


def _grams(texts: pl.Series) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the hashes of the 5-grams of texts, one text after the other, and how many grams each text has.

    A token is a word or a single sign. The texts are cut as one row of bytes, without a loop over them.
    """
    padded = texts + _PAD
    data = np.frombuffer(padded.str.join("").item().encode(), np.uint8)
    kinds = np.take(_KIND, data)
    begins = kinds != _SPACE
    in_word = kinds == _WORD
    begins[1:] &= ~(in_word[1:] & in_word[:-1])
    tokens = np.flatnonzero(begins)
    if not len(tokens):
        return np.empty(0, np.uint32), np.empty(0, np.int64)
    n_bits = len(data).bit_length()
    # The powers go by the place in the whole row: those of the token's own place are what is left over.
    valued = np.take(_BYTE, data) * _powers(_BASE, n_bits)[: len(data)]
    hashes = np.add.reduceat(valued, tokens) * np.take(_powers(_INVERSE, n_bits), tokens)
    summed = np.zeros(len(hashes) - len(_PAD), np.uint64)
    for at, odd in enumerate(_ODD):
        summed += hashes[at : at + len(summed)] * odd
    ends = np.searchsorted(tokens, np.cumsum(padded.str.len_bytes().to_numpy(), dtype=np.int64))
    counts = np.diff(ends, prepend=0) - len(_PAD)
    is_gram = np.ones(len(hashes), bool)
    for back in range(1, _GRAM_TOKENS):
        is_gram[ends - back] = False  # the pads begin none
    return (summed[is_gram[: len(summed)]] >> np.uint64(32)).astype(np.uint32), counts


@cache
def _powers(base: int, n_bits: int) -> NDArray[np.uint64]:
    """Return the first 2**n_bits powers of a number, modulo 2**64."""
    factors = np.full(2**n_bits, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _repeats(
    signed: Signatures, middles: pl.Series, similarity: float, n_known: int | None
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
