"""Near duplicates: samples that say, context and C_N together, almost what an earlier sample says.

MinHash over 5-grams of tokens (Broder 1997) estimates how alike two samples are, and locality-sensitive hashing finds
the few pairs that are worth comparing. Samples are taken in order, and one that is like a sample that was kept is
dropped, so that nothing is dropped by a chain of likeness. Cost is linear in the samples. What is held of each, its
signature (250 bytes), its C_N and its id, stands in files without a name, which the system keeps in memory as long as
there is room; the program itself holds some dozens of bytes a sample, and a dozen for each band that it shares.

What does not live here: exact duplicates (`content_hash` of a sample), and which samples are compared: those of a
training window (`refinery/window.py`), and the held-out ones with what was trained on (`evaluation/day.py`).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

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

Signatures = NDArray[np.uint16]


def near_duplicates(
    samples: Iterable[pl.DataFrame], similarity: float, folder: Path | None = None
) -> pl.DataFrame:
    """Find the samples that are nearly the same as an earlier one that stays.

    Two samples are where context and C_N together share at least `similarity` of their 5-grams (the Jaccard index, as
    MinHash estimates it) and C_N alone is as alike (Indel similarity): what is typed at the same place shares its
    context, and is no duplicate for that.

    Args:
        samples: frames with sample_id and `COMPARED`, together in the order of precedence.
        similarity: from 0 to 1.
        folder: where there is room for what is held of them, by default where temporary files go.

    Returns:
        sample_id, `like` (the sample that stays) and `similarity` (of 5-grams) of each that does not stay.
    """
    return _found(_sketched(samples, folder), similarity)


def near_duplicates_of(
    known: Iterable[pl.DataFrame],
    samples: Iterable[pl.DataFrame],
    similarity: float,
    folder: Path | None = None,
) -> pl.DataFrame:
    """Find the samples that are nearly the same as a known one, as `near_duplicates` finds those of each other.

    Args:
        known: frames of samples, each with sample_id and `COMPARED`.
        samples: frames of those to ask about; what they have in common does not matter.
        similarity: from 0 to 1.
        folder: as there.
    """
    n_known = 0

    def counted() -> Iterator[pl.DataFrame]:
        nonlocal n_known
        for frame in known:
            n_known += frame.height
            yield frame

    sketched = _sketched(chain(counted(), samples), folder)
    return _found(sketched, similarity, n_known)


class _Texts(NamedTuple):
    """Texts, one after the other as bytes, and where each ends."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def at(self, place: int) -> str:
        start = self.ends[place - 1] if place else 0
        return self.data[start : self.ends[place]].tobytes().decode()


class _Sketched(NamedTuple):
    ids: _Texts
    middles: _Texts
    signed: Signatures


def _sketched(samples: Iterable[pl.DataFrame], folder: Path | None) -> _Sketched:
    """Return what is held of the samples, in mapped files; they are signed on all cores."""
    ends: dict[str, list[NDArray[np.int64]]] = {"sample_id": [], "middle": []}
    with (
        TemporaryFile(dir=folder) as signed,
        TemporaryFile(dir=folder) as ids,
        TemporaryFile(dir=folder) as middles,
        ThreadPoolExecutor(os.cpu_count()) as threads,  # NumPy and Polars work outside of Python's lock
    ):
        for frame in samples:
            for texts, signatures_of in threads.map(_sketch, frame.iter_slices(_BATCH)):
                signatures_of.tofile(signed)
                for name, file in (("sample_id", ids), ("middle", middles)):
                    start = file.tell()
                    file.write("".join(texts[name]).encode())
                    ends[name].append(start + texts[name].str.len_bytes().cum_sum().cast(pl.Int64).to_numpy())
        return _Sketched(
            _Texts(_mapped(ids), _joined(ends["sample_id"])),
            _Texts(_mapped(middles), _joined(ends["middle"])),
            _mapped(signed).view(np.uint16).reshape(-1, _PERMUTATIONS),
        )


def _sketch(samples: pl.DataFrame) -> tuple[pl.DataFrame, Signatures]:
    whole = pl.concat_str(pl.col("prefix", "middle", "suffix").fill_null(""))
    told = samples.select("sample_id", middle=pl.col("middle").str.strip_chars(), whole=whole)
    return told.drop("whole"), signatures(told["whole"])


def _mapped(file: IO[bytes]) -> NDArray[np.uint8]:
    """Return what stands in a file, which may be closed then and needs no name."""
    file.flush()
    return (
        np.memmap(file, np.uint8, mode="r") if file.tell() else np.empty(0, np.uint8)
    )  # nothing cannot be mapped


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _found(sketched: _Sketched, similarity: float, n_known: int | None = None) -> pl.DataFrame:
    ids = sketched.ids
    found = [
        (ids.at(sample), ids.at(other), estimate)
        for sample, other, estimate in _repeats(sketched, similarity, n_known)
    ]
    kinds = {"sample_id": pl.String(), "like": pl.String(), "similarity": pl.Float64()}
    return pl.DataFrame(found, schema=kinds, orient="row")


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


def _repeats(sketched: _Sketched, similarity: float, n_known: int | None) -> Iterator[tuple[int, int, float]]:
    """Yield each sample that does not stay, the one that stays in its place, and how alike they are.

    The first `n_known` stay whatever they are like, and the others are compared with these alone. Null: with all before
    them that stay.
    """
    signed, middles = sketched.signed, sketched.middles
    shared = _shared_buckets(signed)
    kept = array(
        "I", bytes(4 * shared.room[-1])
    )  # the samples that stay, by bucket, from where its room begins
    room, held = array("q", shared.room.tobytes()), bytearray(len(shared.room))
    for start, stop in pairwise(shared.bounds):
        sample, buckets = int(shared.samples[start]), shared.buckets[start:stop].tolist()
        is_known = n_known is not None and sample < n_known
        alike = [] if is_known else sorted({n for b in buckets for n in kept[room[b] : room[b] + held[b]]})
        estimates = (signed[alike] == signed[sample]).mean(axis=1).tolist() if alike else []
        for other, estimate in zip(alike, estimates, strict=True):
            if estimate >= similarity and ratio(middles.at(other), middles.at(sample)) >= 100 * similarity:
                yield sample, other, estimate
                break
        else:
            for bucket in buckets if n_known is None or is_known else ():
                if room[bucket] + held[bucket] < room[bucket + 1]:
                    kept[room[bucket] + held[bucket]] = sample
                    held[bucket] += 1


class _Shared(NamedTuple):
    """Which samples stand in buckets with others: (sample, bucket), by sample; each sample's pairs begin at one of
    `bounds`. `room` is where each bucket's place for samples that stay begins, and the end of the last one's.
    """

    samples: NDArray[np.uint32]
    buckets: NDArray[np.uint32]
    bounds: array[int]
    room: NDArray[np.int64]


def _shared_buckets(signed: Signatures) -> _Shared:
    samples: list[NDArray[np.uint32]] = []
    buckets: list[NDArray[np.uint32]] = []
    room = [np.zeros(1, np.int64)]
    n_buckets = 0
    for band in range(_BANDS):
        keys = np.zeros(len(signed), np.uint64)
        for row, odd in enumerate(_ODD[:_BAND_ROWS]):
            keys += signed[:, band * _BAND_ROWS + row] * odd
        order = np.argsort(keys)
        keys = keys[order]
        is_shared = np.zeros(len(keys), bool)
        is_shared[1:] = keys[1:] == keys[:-1]
        is_shared[:-1] |= is_shared[1:].copy()
        found, keys = order[is_shared], keys[is_shared]
        _, number, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        samples.append(found.astype(np.uint32))
        buckets.append((number + n_buckets).astype(np.uint32))
        room.append(np.minimum(sizes, _MOST_COMPARED))
        n_buckets += len(sizes)
    of_sample, of_bucket = np.concatenate(samples), np.concatenate(buckets)
    order = np.lexsort((of_bucket, of_sample))
    of_sample, of_bucket = of_sample[order], of_bucket[order]
    begins = np.ones(len(of_sample) + 1, bool)
    begins[1:-1] = of_sample[1:] != of_sample[:-1]
    bounds = array("q", np.flatnonzero(begins).tobytes())
    return _Shared(of_sample, of_bucket, bounds, np.cumsum(np.concatenate(room)))
