"""Which columns feed a variable: ranges once, never another's; what must be there; what is not used; rows that are left out."""

import json

import pytest
from tabled import Files, done, files, values, vispec, warned

__all__ = ["files"]

REGRESSION = """\
size D
param w : real[D]
param s : positive
plate n:
    given x : real[D]
    observed y : real ~ Normal(dot(w, x), s)
"""
PARTIAL_PAIR = "param mu : real[2]\nplate n:\n    partial x : real[2] ~ Normal(mu, 1)\n"
SCORE = "param mu : real\nplate n:\n    partial score : real ~ Normal(mu, 1)\n    given z : real\n"
ROWS = [(1.0, 2.0, 3.0, 5.5), (2.0, 1.0, 0.5, 3.0), (0.0, 1.5, -1.0, 1.0), (1.5, -2.0, 2.0, 1.0), (3.0, 0.0, 1.0, 4.5)]


def table(order: str, rename: str = "") -> str:
    names = [rename or name if name == "b" else name for name in order]
    return "\n".join([",".join(names), *(",".join(str(row["abcy".index(name)]) for name in order) for row in ROWS)]) + "\n"


def test_a_range_is_resolved_once(files: Files) -> None:
    run, spec = str(files.folder / "run"), files.path("m.vispec", REGRESSION)
    done("fit", spec, files.path("train.csv", table("abcy")), "--columns", "x=a..c", "--out", run, "--no-verify")
    assert json.loads((files.folder / "run" / "config.json").read_text())["columns"] == {"x": ["a", "b", "c"]}
    scores = [json.loads(done("eval", run, str(files.folder / "train.csv"), "--json"))["log_prob"]]
    scores.append(json.loads(done("eval", run, files.path("turned.csv", table("acby")), "--json"))["log_prob"])
    assert scores[0] == scores[1]
    result = vispec("eval", run, files.path("other.csv", table("abcy", rename="q")))
    assert "there is no column `b`" in result.output


def test_positions_and_the_rest_are_resolved_too(files: Files) -> None:
    for asked in ("#1..3", "*", "a..b,c"):
        data = files.read(REGRESSION, "d.csv", table("abcy"), columns={"x": tuple(asked.split(","))})
        assert data.asked == {"x": ("a", "b", "c")}
        turned = files.read(REGRESSION, "e.csv", table("cyab"), columns=data.asked, encoders=data.encoders, sizes=data.sizes)
        assert values(turned, "x") == values(data, "x")


def test_a_range_reads_what_stands_between_in_parquet(files: Files) -> None:
    content = {name: [row[i] for row in ROWS] for i, name in enumerate("abcy")}
    assert values(files.read(REGRESSION, "d.parquet", content, columns={"x": ("a..c",)}), "x")[0] == [1, 2, 3]


def test_a_range_takes_no_column_of_another(files: Files) -> None:
    data = files.read(REGRESSION, "d.csv", table("aybc"), columns={"x": ("a..c",)})
    assert data.sizes["D"] == 3
    assert "leaves out `y`" in warned(data)["D193"]
    data = files.read(REGRESSION, "d.csv", table("abcy"), columns={"x": ("a..c",), "y": ("b",)})
    assert data.asked == {"x": ("a", "c"), "y": ("b",)}
    data = files.read(REGRESSION, "d.csv", "x1,x2,x3\n1,2,3\n4,5,6\n", columns={"y": ("x3",)})
    assert values(data, "x") == [[1, 2], [4, 5]]
    both = files.read(REGRESSION, "d.csv", table("abcy"), columns={"x": ("a", "y"), "y": ("y",)})
    assert both.sizes["D"] == 2


def test_a_partial_variable_has_a_column_or_is_absent(files: Files) -> None:
    told = files.refused(SCORE, "d.csv", "id,Score,z\n1,1,1\n2,2,1\n")
    assert "no column for `score`" in told
    assert "did you mean `Score`? say which column it is, as --columns score=Score" in told
    assert "--absent score" in told
    data = files.read(SCORE, "d.csv", "id,Score,z\n1,1,1\n2,2,1\n", absent=("score",))
    assert values(data, "score_observed") == [False, False]
    assert warned(data)["D194"] == "columns that are not used: `id`, `Score`"
    assert "no partial variable" in files.refused(SCORE, "d.csv", "score,z\n1,1\n", absent=("z",))


def test_absence_is_of_one_data_set(files: Files) -> None:
    spec, run = files.path("m.vispec", SCORE.replace("param mu : real", "param mu : real = 1")), str(files.folder / "run")
    done("fit", spec, files.path("d.csv", "z\n1\n2\n"), "--absent", "score", "--out", run, "--no-verify", "--epochs", "2")
    assert json.loads(done("eval", run, files.path("e.csv", "z,score\n1,2\n"), "--json"))["log_prob"] < -0.9
    assert json.loads(done("eval", run, files.path("d.csv", "z\n1\n2\n"), "--json"))["log_prob"] == 0


def test_a_column_without_a_value_is_named(files: Files) -> None:
    assert "no row has a value of `score`" in warned(files.read(SCORE, "d.csv", "score,z\n,1\nNA,2\n"))["D195"]
    unsized = "size K\nparam p : simplex[K]\nplate n:\n    partial y : category[K] ~ Categorical(p)\n    given z : real\n"
    assert "would tell the size K" in files.refused(unsized, "d.csv", "y,z\n,1\n,2\n")


def test_rows_without_a_value_are_left_out_and_counted(files: Files) -> None:
    content = "x1,x2,y\n1,2,3\n,2,3\n4,NA,nan\n5,6,?\n7,8,9\n"
    data = files.read(REGRESSION, "d.csv", content, drop=True)
    assert values(data, "x") == [[1, 2], [7, 8]]
    assert data.dropped.endswith("3 of 5 rows are left out, in which a value is missing (y in 2, x in 2)")
    told = files.refused(REGRESSION, "d.csv", content.replace("7,8,9", "7,8,z"), drop=True)
    assert "d.csv:6: error[D118]: row 5" in told
    assert "no row is whole" in files.refused(REGRESSION, "d.csv", "x1,x2,y\n1,2,\n", drop=True)
    assert files.read(SCORE, "d.csv", "score,z\n,1\n2,\n", drop=True).num_rows == 1
    assert "--drop-missing" in files.refused(REGRESSION, "d.csv", content)


def test_a_vector_of_which_some_entries_are_missing(files: Files) -> None:
    content = "x1,x2\n1,2\n,NA\n4,\n5,6\n"
    told = files.refused(PARTIAL_PAIR, "d.csv", content)
    assert "d.csv:4: error[D117]: row 3, column `x2`: this entry of the vector is missing, and others are not" in told
    assert "declare `partial x : real` there; or leave such rows out: --drop-missing" in told
    data = files.read(PARTIAL_PAIR, "d.csv", content, drop=True)
    assert data.dropped.endswith("1 of 4 rows are left out, in which a value is missing (x in 1)")
    assert values(data, "x_observed") == [True, False, True]
    assert files.read(PARTIAL_PAIR, "d.jsonl", '{"x": null}\n{"x": [1, null]}\n{"x": [1, 2]}\n', drop=True).num_rows == 2


def test_the_error_of_what_is_needed(files: Files) -> None:
    spec = "size S\nplate school[S]:\n    param mu : real\nplate n:\n    given c : index[school]\n"
    spec += "    observed y : real ~ Normal(mu[c], 1)\n"
    run = str(files.folder / "run")
    done("fit", files.path("m.vispec", spec), files.path("d.csv", "c,y\ns1,1\ns2,2\n"), "--out", run, "--no-verify")
    result = vispec("predict", run, files.path("new.csv", "c\ns9\n"))
    assert "'s9' is not among those of the training data" in result.output
    assert "D111" not in result.output
    assert done("predict", run, files.path("known.csv", "c\ns2\n")).split()[-1] == "2"


ROOMS = """\
size S
size C
plate school[S]:
    plate room[C]:
        param u : real
plate n:
    given school_id : index[school]
    given room_id   : index[room]
    observed y : real ~ Normal(u[school_id, room_id], 1)
"""
SEEN = "school_id,room_id,y\ns1,r1,1\ns1,r2,2\ns2,r1,3\n"


def test_an_element_that_no_row_meets(files: Files) -> None:
    data = files.read(ROOMS, "d.csv", SEEN)
    assert warned(data)["D197"] == "no row meets `u[s2, r2]`: it stays where it starts"
    known = {"encoders": data.encoders, "sizes": data.sizes}
    assert files.read(ROOMS, "e.csv", SEEN, **known).num_rows == 3
    told = files.refused(ROOMS, "e.csv", "school_id,room_id,y\ns1,r1,1\ns2,r2,3\n", **known)
    assert "e.csv:3: error[D136]: row 2" in told
    assert "`u[s2, r2]` met no row of the training data" in told


def test_an_unmet_element_has_no_prediction(files: Files) -> None:
    """The others have theirs; a log-probability of such rows there is none."""
    run = str(files.folder / "run")
    done("fit", files.path("m.vispec", ROOMS), files.path("d.csv", SEEN), "--out", run, "--no-verify")
    data = files.path("e.csv", "school_id,room_id\ns1,r2\ns2,r2\ns2,r1\n")
    result = vispec("predict", run, data, "--jsonl")
    assert result.exit_code == 0, result.output
    assert "`u[s2, r2]` met no row of the training data: 1 row here has no value" in result.stderr
    found = [json.loads(line)["y"] for line in result.stdout.splitlines()]
    assert found == [pytest.approx(2), None, pytest.approx(3)]
    assert "no value" in vispec("predict", run, data).stdout
    scored = vispec("eval", run, files.path("f.csv", "school_id,room_id,y\ns2,r2,1\n"))
    assert (scored.exit_code, "D136" in scored.output) == (1, True)


def test_unmet_elements_of_other_readings(files: Files) -> None:
    shifted = (
        "size S = 3\nplate school[S]:\n    param u : real\nplate n:\n    given a : index[school]\n    given b : index[school]\n"
    )
    data = files.read(shifted + "    observed y : real ~ Normal(u[a] - u[b], 1)\n", "d.csv", "a,b,y\n0,1,1\n1,0,2\n")
    assert "`u[2]`" in warned(data)["D197"]
    entry = "size K = 3\nparam w : real[K]\nplate n:\n    given c : category[K]\n    observed y : real ~ Normal(w[c], 1)\n"
    assert "`w[1]`" in warned(files.read(entry, "d.csv", "c,y\n0,1\n2,1\n"))["D197"]
    inner = ROOMS.replace("    given room_id   : index[room]\n    observed y : real ~ Normal(u[school_id, room_id], 1)\n", "")
    inner += "    plate i:\n        given room_id : index[room]\n        observed y : real ~ Normal(u[school_id, room_id], 1)\n"
    rows = '{"school_id": "s1", "room_id": ["r1", "r2"], "y": [1, 2]}\n{"school_id": "s2", "room_id": ["r1"], "y": [1]}\n'
    assert "`u[s2, r2]`" in warned(files.read(inner, "d.jsonl", rows))["D197"]
    whole = ROOMS + "    observed z : real ~ Normal(sum(u[school_id, room] for room), 1)\n"
    assert "D197" not in warned(files.read(whole, "d.csv", "school_id,room_id,y,z\ns1,r1,1,1\ns2,r2,1,1\n"))
