"""What would pass in silence in a long table: it is an error, or a line that names it."""

from typing import Any

import pytest
from tabled import Files, files, values, warned
from test_long import CROSSED, SERIES

__all__ = ["files"]


@pytest.mark.parametrize(
    ("table", "options", "says"),
    [
        ("who,q,y\nann,q1,1\nann,q2,0\nbob,q1,1\n", {}, "--index item=COLUMN"),  # each row would be a person of one item
        ("y1,y2\n1,0\n0,1\n", {}, None),
        ("y\n1\n0\n", {"sizes": {"I": 1}}, None),
        ("y\n1\n", {}, None),
    ],
)
def test_single_values_do_not_tell_the_size_of_a_plate(
    files: Files, table: str, options: dict[str, Any], says: str | None
) -> None:
    if says is None:
        assert files.read(CROSSED, "d.csv", table, **options).num_rows == table.count("\n") - 1
    else:
        assert says in files.refused(CROSSED, "d.csv", table, **options)


def test_a_column_that_keys_a_plate_feeds_the_variable_of_its_name(files: Files) -> None:
    spec = "plate s:\n    plate j:\n        given time : real\n        observed x : real ~ Normal(time, 1)\n"
    data = files.read(spec, "d.csv", "id,time,x\nA,3,1\nA,5,2\nB,4,3\n", index={"s": "id", "j": "time"})
    assert values(data, "time") == [[3, 5], [4, 0]]
    data = files.read(spec, "d.csv", "s,j,time,x\nA,1,3,1\nA,2,5,2\nB,1,4,3\n")
    assert values(data, "time") == [[3, 5], [4, 0]]


@pytest.mark.parametrize(
    ("plate", "keys", "at"),
    [
        ("plate j", "0 1 2 0 1", None),
        ("plate j", "0 1 3 0 1", "it is 2 where column `j` has 3"),
        ("plate j", "0 1 2 1 2", "it is 0 where column `j` has 1"),  # its place among those of B
        ("chain j", "1 2 3 1 2", "it is 0 where column `j` has 1"),
        ("plate j", "a b c a b", "it is 0 where column `j` has a"),
        ("plate j[3]", "0 1 2 0 1", None),
        ("plate j[3]", "1 2 3 1 2", "it is 0 where column `j` has 1"),
    ],
)
def test_a_position_that_is_not_the_key_is_told(files: Files, plate: str, keys: str, at: str | None) -> None:
    spec = f"plate s:\n    {plate}:\n        partial x : real ~ Normal(j, 1)\n"
    rows = "".join(f"{s},{j},1\n" for s, j in zip("AAABB", keys.split(), strict=True))
    told = warned(files.read(spec, "d.csv", "s,j,x\n" + rows)).get("D188")
    assert told is None if at is None else told is not None and at in told
    assert "D188" not in warned(files.read(spec.replace("(j,", "(0,"), "d.csv", "s,j,x\n" + rows))


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ("Monday Tuesday Monday", True),
        ("1/2/2020 1/12/2020 2/1/2020", True),
        ("2020-01-02 2020-12-01 2020-02-01", False),
        ("2020-01 2020-12 2020-02", False),
        ("10 9 1.5", False),
    ],
)
def test_words_along_a_chain_are_in_the_order_of_the_alphabet(files: Files, days: str, told: bool) -> None:
    rows = "".join(f"{s},{t},1,0\n" for s, t in zip("AAB", days.split(), strict=True))
    found = warned(files.read(SERIES, "d.csv", "s,t,x,z\n" + rows)).get("D198", "")
    assert ("in the order of the alphabet: " + ", ".join(sorted(set(days.split()))) in found) == told


def test_an_ordered_category_orders_a_chain(files: Files) -> None:
    import pyarrow as pa

    days = pa.DictionaryArray.from_arrays(pa.array([1, 0, 0]), pa.array(["Mon", "Fri"]), ordered=True)
    data = files.read(SERIES, "d.parquet", {"s": ["A", "A", "B"], "t": days, "x": [1.0, 2.0, 3.0], "z": [5, 5, 6]})
    assert values(data, "x") == [[2, 1], [3, 0]]
    assert "D198" not in warned(data)


def test_row_numbers_of_r_and_pandas_are_no_file_without_names(files: Files) -> None:
    spec = "plate n:\n    given z : real\n    observed y : real ~ Normal(z, 1)\n"
    told = files.refused(spec, "d.csv", '"","y","x"\n"1",2,3\n"2",3,4\n')
    assert "say which column it is, as --columns z=x" in told
    assert "add a column `z`" in files.refused(spec, "e.csv", '"","y"\n"1",2\n"2",3\n')
