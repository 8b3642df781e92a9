"""Long tables: plates keyed by columns. The same data nested give the same batches and the same log-probability."""

import json
import random
from typing import Any

import pytest
import torch
from tabled import Files, done, files, model, values, vispec, warned

from vispec.train.data import Dataset, load

__all__ = ["files"]

SERIES = """\
plate s:
    given z : real
    chain t:
        observed x : real ~ Normal(z, 1)
"""
LONG = "id,time,x,z\nB,2,2.2,7\nA,10,0.1,5\nA,2,1.2,5\nB,1,2.0,7\nA,3,0.9,5\n"
KEYS = {"s": "id", "t": "time"}
CROSSED = """\
size I
plate item[I]:
    param b : real
plate person:
    plate item:
        partial y : bit ~ Bernoulli(sigmoid(b))
"""
ANSWERS = "who,q,y\nann,q10,1\nbob,q2,0\nann,q2,0\ncid,q10,1\n"
WHO = {"person": "who", "item": "q"}
RATERS = """\
size A
size K = 3
plate who[A]:
    param conf : simplex[K]
plate doc:
    plate r:
        given w : index[who]
        observed y : category[K] ~ Categorical(conf[w])
"""
LEVELS = """\
plate s:
    plate j:
        given g : real
        chain t:
            observed x : real[2] ~ Normal([g, g], 1)
"""


def test_rows_of_one_key_are_a_sequence(files: Files) -> None:
    data = files.read(SERIES, "d.csv", LONG, index=KEYS)
    assert values(data, "x_len") == [2, 3]
    torch.testing.assert_close(data.batch([0, 1])["x"], torch.tensor([[2.0, 2.2, 0], [1.2, 0.9, 0.1]]))
    assert values(data, "z") == [7, 5]
    assert "`t` by `time`, in the order 1, 2, 3, 10" in warned(data)["D199"]


def test_columns_with_the_names_of_plates(files: Files) -> None:
    named = files.read(SERIES, "d.csv", LONG.replace("id,time", "s,t"))
    assert values(named, "x") == values(files.read(SERIES, "e.csv", LONG, index=KEYS), "x")


def test_without_a_key_of_the_chain_rows_keep_their_order(files: Files) -> None:
    data = files.read(SERIES, "d.csv", LONG, index={"s": "id"})
    torch.testing.assert_close(data.batch([1])["x"], torch.tensor([[0.1, 1.2, 0.9]]))


@pytest.mark.parametrize(
    ("old", "new", "index", "says"),
    [
        ("A,2,1.2", "A,10.0,1.2", KEYS, "d.csv:4: error[D137]: row 3, column `x`: a second row for `id` = A, `time` = 10"),
        ("A,2,1.2", "A,10,1.2", KEYS, "help: the first one is row 2, in line 3"),
        ("A,2,1.2,5", "A,2,1.2,6", KEYS, "d.csv:4: error[D137]: row 3, column `z`: `z` differs between rows of `id` = A"),
        ("A,2,1.2", ",2,1.2", KEYS, "d.csv:4: error[D137]: row 3, column `id`: the key of plate `s` is missing"),
        ("A,2,1.2", "A,2,q", KEYS, "d.csv:4: error[D118]: row 3, column `x`: 'q' is not a number"),
        ("A,2", "A,2", {"t": "time"}, "nothing says in which element of `s` a row stands"),
        ("A,2", "A,2", {"s": "who"}, "there is no column `who`, which --index asks for plate `s`"),
        ("A,2", "A,2", {"r": "id"}, "--index names `r`, which is no plate"),
        ("A,2", "A,2", {}, "every row has one element of plate `t`"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit(files: Files, old: str, new: str, index: dict[str, str], says: str) -> None:
    assert says in files.refused(SERIES, "d.csv", LONG.replace(old, new), index=index)


def test_crossed_plates_are_cells(files: Files) -> None:
    data = files.read(CROSSED, "d.csv", ANSWERS, index=WHO)
    assert (data.num_rows, data.sizes, data.encoders.labels) == (3, {"I": 2}, {"I": ("q10", "q2")})
    assert values(data, "y_observed") == [[True, True], [False, True], [True, False]]
    known = {"encoders": data.encoders, "sizes": data.sizes, "index": WHO}
    assert values(files.read(CROSSED, "e.csv", "who,q,y\nzed,q2,1\n", **known), "y_observed") == [[False, True]]
    assert "plate `item` has no element 'q3'" in files.refused(CROSSED, "e.csv", "who,q,y\nzed,q3,1\n", **known)
    told = files.refused(CROSSED.replace("partial", "observed"), "d.csv", ANSWERS, index=WHO)
    assert "there is no value of `y` for `who` = bob, `q` = q10" in told


def test_labels_of_a_plate_are_those_of_its_indices_too(files: Files) -> None:
    pointing = CROSSED + "    given first : index[item]\n"
    data = files.read(pointing, "d.csv", "who,q,y,first\nann,q2,1,q2\nbob,q2,0,q1\n", index=WHO)
    assert data.encoders.labels == {"I": ("q1", "q2")}
    assert (values(data, "first"), values(data, "y_observed")) == ([1, 0], [[False, True], [False, True]])


def test_indices_in_a_long_table(files: Files) -> None:
    data = files.read(RATERS, "d.csv", "doc,w,y\n1,ann,1\n1,bob,3\n2,ann,2\n")
    assert (values(data, "w"), values(data, "y")) == ([[0, 1], [0, 0]], [[0, 2], [1, 0]])


def test_several_levels(files: Files) -> None:
    rows = "s,j,t,x1,x2,g\nA,a,1,1,2,0\nA,a,2,3,4,0\nA,b,1,5,6,1\nB,a,1,7,8,2\n"
    nested = [{"x": [[[1, 2], [3, 4]], [[5, 6]]], "g": [0, 1]}, {"x": [[[7, 8]]], "g": [2]}]
    same(files.read(LEVELS, "d.csv", rows), files.read(LEVELS, "d.jsonl", lines(nested)))


def test_one_data_set(files: Files) -> None:
    spec = "size I\nsize J\nparam m : real\nplate i[I]:\n    given a : real\n"
    spec += "    plate j[J]:\n        partial x : real ~ Normal(m + a, 1)\n"
    data = files.read(spec, "d.csv", "i,j,x,a\n10,u,1,5\n20,v,2,6\n10,v,3,5\n")
    assert values(data, "a") == [[5, 6]]
    assert values(data, "x_observed") == [[[True, True], [False, True]]]
    assert values(data, "x") == [[[1, 3], [0, 2]]]


def test_tables_that_all_rows_share_find_their_elements(files: Files) -> None:
    spec = "size C\nplate city[C]:\n    given pop : real\nplate n:\n    given c : index[city]\n"
    spec += "    observed y : real ~ Normal(pop[c], 1)\n"
    rows = files.path("d.csv", "c,y\nParis,1\nBerlin,2\n")
    data = load(model(spec), [rows, "pop=" + files.path("a.csv", "city,pop\nParis,100\nRome,70\nBerlin,50\n")])
    assert (values(data, "pop"), values(data, "c")) == ([50, 100, 70], [1, 0])
    data = load(model(spec), [rows, "pop=" + files.path("b.csv", "town,pop\nParis,100\nBerlin,50\n")], index={"city": "town"})
    assert values(data, "pop") == [50, 100]
    data = load(model(spec), [rows, "pop=" + files.path("e.csv", "pop\n100\n50\n")])
    assert "in this order: Berlin, Paris" in warned(data)["D198"]


@pytest.mark.parametrize(
    ("times", "gap"),
    [("1 2 3 1 2", None), ("1 2 4 1 2", "after 2 comes 4"), ("0 5 10 0 5", None), ("0 5 15 0 5", "after 5 comes 15")],
)
def test_keys_that_leave_some_out_are_named(files: Files, times: str, gap: str | None) -> None:
    rows = "".join(f"{s},{t},1,0\n" for s, t in zip("AAABB", times.split(), strict=True))
    told = warned(files.read(SERIES, "d.csv", "s,t,x,z\n" + rows)).get("D189")
    assert told is None if gap is None else told is not None and f"{gap} along `t` of `s` = A" in told


def test_lists_in_cells_are_no_long_table(files: Files) -> None:
    data = files.read(SERIES, "d.csv", "s,x,z\nA,1 2 3,5\nB,4,6\n")
    assert values(data, "x_len") == [3, 1]
    data = files.read(SERIES, "d.jsonl", lines([{"s": "A", "x": [1, 2], "z": 5}, {"s": "A", "x": [3], "z": 5}]))
    assert values(data, "x_len") == [2, 1]


def test_vectors_and_dates(files: Files) -> None:
    import datetime

    import pyarrow as pa

    days = [datetime.date(2020, 2, 1), datetime.date(2020, 1, 1), datetime.date(2020, 1, 1)]
    data = files.read(SERIES, "d.parquet", {"s": [1, 1, 2], "t": pa.array(days), "x": [1.0, 2.0, 3.0], "z": [5, 5, 6]})
    assert values(data, "x") == [[2, 1], [3, 0]]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def same(one: Dataset, two: Dataset) -> None:
    assert one.num_rows == two.num_rows
    assert one.sizes == two.sizes
    a, b = one.batch(range(one.num_rows)), two.batch(range(two.num_rows))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("seed", range(30))
def test_random_long_tables(files: Files, seed: int) -> None:
    """Rows in any order, of any number of elements at each level, are the nested data."""
    rng = random.Random(seed)
    nested, rows = [], []
    for s in range(rng.randint(1, 5)):
        groups = []
        for j in range(rng.randint(1, 3)):
            g = rng.randint(0, 9)
            groups.append((g, [(rng.random(), rng.random()) for _ in range(rng.randint(1, 4))]))
            rows += [(f"s{s}", f"j{j}", t * 5, x, y, g) for t, (x, y) in enumerate(groups[-1][1])]
        nested.append({"x": [[list(x) for x in xs] for _, xs in groups], "g": [g for g, _ in groups]})
    head, tail = rows[0], rows[1:]
    order = [row for s in range(len(nested)) for j in range(3) for row in [head, *tail] if row[:2] == (f"s{s}", f"j{j}")]
    firsts = {row[:2]: i for i, row in enumerate(order)}  # elements of plates as they come, times in any order
    shuffled = sorted(order, key=lambda row: (list(firsts).index(row[:2]), rng.random()))
    text = "s,j,t,x1,x2,g\n" + "".join(",".join(map(str, row)) + "\n" for row in shuffled)
    same(files.read(LEVELS, "d.csv", text), files.read(LEVELS, "d.jsonl", lines(nested)))
    columns = {name: [row[i] for row in shuffled] for i, name in enumerate(("s", "j", "t", "x1", "x2", "g"))}
    same(files.read(LEVELS, "d.parquet", columns), files.read(LEVELS, "d.jsonl", lines(nested)))


MARKOV = """\
param init : simplex[2]
plate k[2]:
    param mu : real
    param trans : simplex[2]
plate seq:
    chain t:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : real ~ Normal(mu[c], 1)
"""


def test_a_fit_of_a_long_table_is_that_of_nested_data(files: Files) -> None:
    rng = random.Random(0)
    nested = [{"x": [round(rng.gauss(0, 2), 3) for _ in range(rng.randint(1, 6))]} for _ in range(8)]
    long = [f"{100 + s},{t},{x}" for s, row in enumerate(nested) for t, x in enumerate(row["x"])]
    spec, table = files.path("m.vispec", MARKOV), files.path("d.csv", "id,time,x\n" + "\n".join(long) + "\n")
    keys, run = ("--index", "seq=id", "--index", "t=time"), str(files.folder / "run")
    rest = ("--no-verify", "--restarts", "1", "--json")
    one = json.loads(done("fit", spec, table, *keys, "--out", run, *rest).splitlines()[-1])["train"]["log_prob"]
    two = json.loads(done("fit", spec, files.path("d.jsonl", lines(nested)), "--out", f"{run}2", *rest).splitlines()[-1])
    assert one == pytest.approx(two["train"]["log_prob"], abs=1e-9)
    assert json.loads(done("eval", run, table, "--json"))["log_prob"] == pytest.approx(one, abs=1e-9)
    other = json.loads(done("eval", run, files.path("e.csv", "who,time,x\n1,1,0.5\n1,2,0.7\n"), "--index", "seq=who", "--json"))
    assert (other["rows"], other["tokens"]) == (1, 2)


def test_nested_data_for_a_run_of_a_long_table(files: Files) -> None:
    """A run remembers by which columns plates are keyed; a file of lists has none of them, and one of rows has all."""
    spec, table = files.path("m.vispec", MARKOV), files.path("d.csv", "id,time,x\nA,1,0.5\nA,2,2\nB,1,0.7\n")
    run = str(files.folder / "run")
    done("fit", spec, table, "--index", "seq=id", "--index", "t=time", "--out", run, "--epochs", "3")
    nested = files.path("d.jsonl", lines([{"x": [0.5, 2]}, {"x": [0.7]}]))
    one, two = (json.loads(done("eval", run, data, "--json"))["log_prob"] for data in (table, nested))
    assert one == pytest.approx(two, abs=1e-9)
    other = vispec("eval", run, files.path("e.csv", "id,when,x\nA,1,0.5\n"))
    assert other.exit_code == 1
    assert "there is no column `time`, which --index asks for plate `t`" in other.output
    assert "--index t=COLUMN" in vispec("eval", run, files.path("f.csv", "who,when,x\nA,1,0.5\nA,2,1\n")).output


def test_answers_carry_the_keys_of_their_rows(files: Files) -> None:
    spec, table = files.path("m.vispec", MARKOV), files.path("d.csv", "id,time,x\n20,1,0.5\n3,1,2\n20,0,0.7\n")
    run = str(files.folder / "run")
    done("fit", spec, table, "--index", "seq=id", "--index", "t=time", "--out", run, "--no-verify", "--epochs", "3")
    told = [json.loads(line) for line in done("posterior", run, table, "--query", "mode", "--jsonl").splitlines()]
    assert [(row["id"], len(row["c"])) for row in told] == [(20, 2), (3, 1)]
    assert "id: 20" in done("posterior", run, table)


def test_a_scalar_column_of_a_deeper_variable_is_told(files: Files) -> None:
    result = vispec("fit", files.path("m.vispec", MARKOV), files.path("d.csv", "id,time,x\nA,1,0.1\nA,2,1.2\n"), "--no-verify")
    assert result.exit_code == 1
    assert "--index t=COLUMN" in result.output
