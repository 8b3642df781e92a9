"""Leaves of a column as numbers of a variable's domain, with what is missing; anything outside the domain is a problem."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.data.arrow import pc
from vispec.train.data.columns import Array, Column
from vispec.train.data.diagnostics import LIMIT, Problems

MISSING = ("", "?", "NA", "N/A", "nan", "NaN", "NAN", "null", "NULL", "None")
SIMPLEX_TOLERANCE = 1e-4  # how far the entries of a simplex may sum from one, for data printed with few digits


def report_all(
    column: Column,
    problems: Problems,
    code: str,
    bad: Any,
    message: Callable[[int], str],
    help: str | None = None,
    width: int = 1,
) -> None:
    """One problem for each True in `bad`, the first ones in full. width: values to a place, of which the first is named."""
    indices = np.flatnonzero(bad)
    for i in indices[:LIMIT].tolist():
        column.report(problems, code, message(i), len(column.levels), i * width, help)
    problems.more += max(0, len(indices) - LIMIT)


def is_text(values: pa.ChunkedArray) -> bool:
    return pa.types.is_large_string(values.type) or pa.types.is_string(values.type)


def to_numpy(values: pa.ChunkedArray, fill: Any = 0) -> Array:
    """The values as a flat array, missing ones as `fill`."""
    filled = pc.fill_null(values, fill) if values.null_count else values
    return filled.chunk(0).to_numpy(zero_copy_only=False) if filled.num_chunks == 1 else filled.to_numpy()


def null_mask(values: pa.ChunkedArray) -> Array:
    if values.null_count == 0:
        return np.zeros(len(values), bool)
    return pc.is_null(values).to_numpy()


def clean_text(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Array]:
    """Text without white space around it, null where it says that the value is missing; and that mask."""
    trimmed = pc.ascii_trim_whitespace(values)
    missing = pc.or_(pc.is_in(trimmed, value_set=pa.array(MISSING, trimmed.type)), pc.is_null(trimmed))
    return pc.if_else(missing, pa.scalar(None, trimmed.type), trimmed), missing.to_numpy()


def clean_words(words: Sequence[str]) -> list[str | None]:
    """The same of a few of them, such as those that are distinct: None where one is missing."""
    return clean_text(pa.chunked_array([words], pa.large_string()))[0].to_pylist()


def numbers(column: Column, problems: Problems) -> tuple[Array, Array]:
    """Finite numbers and the mask of missing ones (which are 0); the array keeps the type that the file has them in."""
    values = column.values
    if pa.types.is_null(values.type):
        return np.zeros(len(values), np.float64), np.ones(len(values), bool)
    if pa.types.is_boolean(values.type):
        report_all(column, problems, "D118", ~null_mask(values), lambda i: f"{str(values[i]).lower()} is not a number")
        return np.zeros(len(values)), null_mask(values)
    missing = null_mask(values)
    if is_text(values):
        values, missing = clean_text(values)
        values = _parse(column, values, problems)
    array = to_numpy(values)
    if array.dtype.kind == "f" and (missing.any() or not np.isfinite(array.sum())):
        array = np.where(missing, 0, array)
        unknown = np.isnan(array)
        if unknown.any():
            missing, array = missing | unknown, np.where(unknown, 0, array)
        report_all(column, problems, "D119", np.isinf(array), lambda i: f"{array[i]} is not a finite number")
    return array, missing


def _parse(column: Column, text: pa.ChunkedArray, problems: Problems) -> pa.ChunkedArray:
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        pass
    spelled = pc.match_substring_regex(text, r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)$")
    plain = pc.and_(pc.fill_null(spelled, True), pc.invert(pc.fill_null(pc.starts_with(text, "+"), False)))
    wrong = pc.invert(pc.fill_null(spelled, True)).to_numpy()
    report_all(column, problems, "D118", wrong, lambda i: f"{text[i].as_py()[:40]!r} is not a number")
    if wrong.any():
        return pa.chunked_array([pa.nulls(len(text), pa.float64())])
    unsigned = pc.if_else(plain, text, pc.replace_substring_regex(text, r"^\+", ""))
    return pa.chunked_array([pa.array([None if t is None else float(t) for t in unsigned.to_pylist()], pa.float64())])


def bits(column: Column, problems: Problems) -> tuple[Array, Array]:
    """0 and 1 as uint8, from numbers, booleans, or text such as 0, 1, true, false."""
    values = column.values
    if pa.types.is_boolean(values.type):
        return to_numpy(values, False).astype(np.uint8), null_mask(values)
    if is_text(values):
        lowered, missing = clean_text(
            pc.utf8_lower(pc.if_else(pc.is_in(values, value_set=pa.array(MISSING, values.type)), "", values))
        )
        codes = pc.index_in(lowered, value_set=pa.array(["0", "1", "false", "true", "0.0", "1.0"], lowered.type))
        array = pc.fill_null(codes, -1).to_numpy()
        bad = (array < 0) & ~missing
        report_all(
            column, problems, "D121", bad, lambda i: f"{values[i].as_py()[:40]!r} is not a bit", "write 0, 1, true or false"
        )
        return (np.maximum(array, 0) % 2).astype(np.uint8), missing
    array, missing = numbers(column, problems)
    report_all(column, problems, "D121", (array != 0) & (array != 1), lambda i: f"{array[i]} is not a bit", "a bit is 0 or 1")
    return array.astype(np.uint8) if array.dtype.kind != "f" else (array == 1).astype(np.uint8), missing


def integers(column: Column, problems: Problems) -> tuple[Array, Array]:
    """Whole numbers as int64."""
    if pa.types.is_boolean(column.values.type):
        return to_numpy(column.values, False).astype(np.int64), null_mask(column.values)
    array, missing = numbers(column, problems)
    if array.dtype.kind == "f":
        whole = (array == np.floor(array)) & (np.abs(array) < 2**53)
        report_all(column, problems, "D120", ~whole, lambda i: f"{array[i]:g} is not a whole number")
        array = np.where(whole, array, 0)
    return array.astype(np.int64), missing


def check_support(column: Column, domain: str, array: Array, missing: Array, event: int, problems: Problems) -> None:
    """Report values outside a domain of numbers. array: flat. event: how many values one element has."""
    simple: dict[str, tuple[Callable[[Array], Array], str]] = {
        "positive": (lambda a: a <= 0, "not positive"),
        "unit": (lambda a: (a < 0) | (a > 1), "not between 0 and 1"),
        "count": (lambda a: (a < 0) | (a != np.floor(a)), "not a count (a whole number from 0)"),
    }
    if domain in simple:
        outside, what = simple[domain]
        report_all(column, problems, "D120", outside(array) & ~missing, lambda i: f"{array[i]} is {what}")
        return
    if domain not in ("simplex", "ordered", "cholesky") or event == 0:
        return
    vectors = array.reshape(-1, event)
    whole = ~missing.reshape(-1, event).any(axis=1)
    if domain == "simplex":
        sums = vectors.sum(axis=1, dtype=np.float64)
        bad = (vectors < 0).any(axis=1) | (np.abs(sums - 1) > SIMPLEX_TOLERANCE)
        report_all(column, problems, "D120", bad & whole, lambda i: _simplex_message(vectors[i], sums[i]), width=event)
    elif domain == "ordered":
        bad = (np.diff(vectors, axis=1) <= 0).any(axis=1)
        report_all(column, problems, "D120", bad & whole, lambda i: "the entries do not increase", width=event)
    else:
        side = round(event**0.5)
        matrices = vectors.reshape(-1, side, side)
        bad = np.triu(matrices, 1).any(axis=(1, 2)) | (np.diagonal(matrices, axis1=1, axis2=2) <= 0).any(axis=1)
        message = "the matrix is not lower triangular with a positive diagonal"
        report_all(column, problems, "D120", bad & whole, lambda i: message, width=event)


def _simplex_message(vector: Array, total: float) -> str:
    if (vector < 0).any():
        return f"an entry of a simplex is negative ({vector.min():g})"
    return f"the entries of a simplex sum to {total:g}, not 1"
