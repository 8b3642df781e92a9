"""Lines of text as numbers of words, without a loop over words and without a string for each: Arrow hashes integers several
times as fast as strings, so a word of up to seven bytes is one, its bytes and its length; only longer ones are strings.
"""

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Array

SHORT = 7  # bytes that fit into an integer beside their number
MASKS = np.array([(1 << 8 * count) - 1 for count in range(SHORT + 1)], np.uint64)


def split_words(texts: pa.Array) -> tuple[Array, pa.DictionaryArray]:
    """How many words each text has (-1: it is missing), and all of them, by their numbers among the distinct ones.

    Words stand between ASCII white space."""
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    texts = texts.cast(pa.large_string())
    texts = texts.fill_null("") if texts.null_count else texts
    _, where, content = texts.buffers()
    bounds = np.frombuffer(where, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.zeros(int(bounds[-1] - bounds[0]) + 8, np.uint8)  # so that eight bytes can be read anywhere
    if content is not None:
        data[:-8] = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]]
    starts, stops = _places(data[:-8], bounds - bounds[0])
    level = np.diff(np.searchsorted(starts, bounds - bounds[0]))
    return np.where(absent, -1, level), _numbered(data, starts, stops)


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
