"""Lines of text as numbers of words, without a string for each: by a loop in C++ where there is one on this machine, or
without a loop, by Arrow, which hashes integers several times as fast as strings: a word of up to seven bytes is one, its bytes
and its length; only longer ones are strings. The numbers are the same.
"""

import ctypes
import os
import warnings
from collections.abc import Iterator
from functools import cache

import numpy as np
import pyarrow as pa

from vispec.kernels.native.library import compiler, library, loaded
from vispec.kernels.native.text import cpp
from vispec.train.data.columns import Array

SHORT = 7  # bytes that fit into an integer beside their number
MASKS = np.array([(1 << 8 * count) - 1 for count in range(SHORT + 1)], np.uint64)
WORDS_CPP = cpp("words")
WORTH = 12_000_000  # bytes at a time that come of files for which a second of the compiler pays
PART = 1 << 21  # bytes of texts whose words are found at once


def split_all(texts: pa.ChunkedArray) -> list[tuple[Array, pa.DictionaryArray]]:
    """The same of all texts, some at a time."""
    return [split_words(part) for chunk in texts.chunks for part in _parts(chunk)]


def _parts(texts: pa.Array) -> Iterator[pa.Array]:
    """Without a loop, what is found of each word for a while takes many times the room of the word: not of many at a time."""
    if library(WORDS_CPP) or (texts.nbytes >= WORTH and built()):
        yield texts
        return
    many = max(1, len(texts) * PART // max(1, texts.nbytes))
    for first in range(0, max(1, len(texts)), many):
        yield texts.slice(first, many)


def split_words(texts: pa.Array) -> tuple[Array, pa.DictionaryArray]:
    """How many words each text has (-1: it is missing), and all of them, by their numbers among the distinct ones.

    Words stand between ASCII white space."""
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    texts = texts.cast(pa.large_string())
    texts = texts.fill_null("") if texts.null_count else texts
    _, where, content = texts.buffers()
    bounds = np.frombuffer(where, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.empty(int(bounds[-1] - bounds[0]) + 8, np.uint8)  # so that eight bytes can be read anywhere
    data[-8:] = 0
    if content is not None:
        data[:-8] = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]]
    bounds = bounds - bounds[0]
    if code := library(WORDS_CPP) or (built() if len(data) >= WORTH else None):
        level, words = _by_loop(code, data, bounds)
    else:
        starts, stops = _places(data[:-8], bounds)
        level, words = np.diff(np.searchsorted(starts, bounds)), _numbered(data, starts, stops)
    return np.where(absent, -1, level), words


@cache
def built() -> ctypes.CDLL | None:
    """The loop, built now; in silence where that cannot be, as it is not missed."""
    if os.environ.get("VISPEC_NATIVE") == "off" or compiler() is None:
        return None
    with warnings.catch_warnings(action="ignore"):
        return loaded(WORDS_CPP, True)


def _by_loop(code: ctypes.CDLL, data: Array, bounds: Array) -> tuple[Array, pa.DictionaryArray]:
    most = len(data) // 2 + 1  # words in so many bytes, of texts that no white space parts: as many as there are
    most = min(len(data), most + len(bounds))
    level, numbers, counts = np.empty(len(bounds) - 1, np.int64), np.empty(most, np.int32), np.zeros(2, np.int64)
    found = [np.empty(most, np.int64) for _ in range(4)]  # memory that is never written is never there
    given = [data, bounds, len(level), level, numbers, *found, counts]
    function = code.number_words
    function.restype = ctypes.c_int64
    total = function(*(ctypes.c_int64(x) if isinstance(x, int) else x.ctypes.data_as(ctypes.c_void_p) for x in given))
    words = [_strings(data, *(part[:count] for part in found[at : at + 2])) for at, count in zip((0, 2), counts, strict=True)]
    return level, pa.DictionaryArray.from_arrays(numbers[:total], pa.concat_arrays(words))


def _places(data: Array, bounds: Array) -> tuple[Array, Array]:
    """Where words start, and where they stop: at white space, and at the ends of texts."""
    inside = (data != 32) & (data - np.uint8(9) > 4)
    edge = bounds[(bounds > 0) & (bounds < len(data))]
    first, last = inside.copy(), inside.copy()
    first[1:] &= ~inside[:-1]
    last[:-1] &= ~inside[1:]
    first[edge] = inside[edge]
    last[edge - 1] = inside[edge - 1]
    return np.flatnonzero(first), np.flatnonzero(last) + 1


def _numbered(data: Array, starts: Array, stops: Array) -> pa.DictionaryArray:
    sizes = stops - starts
    eight = np.ndarray((len(data) - 7,), "<u8", buffer=data, strides=(1,))  # the eight bytes from each place on
    short = sizes <= SHORT
    few, count = starts[short], sizes[short]
    keys = pa.array((eight[few] & MASKS[count]) | (count.astype(np.uint64) << np.uint64(8 * SHORT))).dictionary_encode()
    distinct = keys.dictionary.to_numpy()
    lengths = (distinct >> np.uint64(8 * SHORT)).astype(np.int64)
    words = _strings(np.ascontiguousarray(distinct, "<u8").view(np.uint8), np.arange(len(distinct)) * 8, lengths)
    longer = _strings(data, starts[~short], sizes[~short]).dictionary_encode()
    numbers = np.empty(len(starts), np.int32)
    numbers[short] = keys.indices.to_numpy()
    numbers[~short] = longer.indices.to_numpy() + len(words)
    return pa.DictionaryArray.from_arrays(numbers, pa.concat_arrays([words, longer.dictionary]))


def _strings(data: Array, starts: Array, sizes: Array) -> pa.LargeStringArray:
    """The strings that stand at these places: every second one of those between all of the places."""
    bounds = np.stack((starts, starts + sizes), axis=1).reshape(-1).astype(np.int64)
    count = max(0, len(bounds) - 1)
    between = pa.Array.from_buffers(
        pa.large_string(), count, [None, pa.py_buffer(bounds if count else np.zeros(1, np.int64)), pa.py_buffer(data)]
    )
    return between.take(pa.array(np.arange(0, count, 2)))
