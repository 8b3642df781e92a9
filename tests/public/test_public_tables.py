"""Public tables in long form, each fitted as it lies by at most two options; the same data nested or wide, in another format,
have the same log-probability at the same parameters."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from vispec.cli.main import main

HERE = Path(__file__).parent
Row = dict[str, str]
File = tuple[str, bytes]


def table(name: str) -> list[Row]:
    """The rows of a table as they lie."""
    text = (HERE / f"{name}.csv").read_text(encoding="utf-8")
    return [*csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text.split("\n")[0] else ",")]


def groups(rows: Sequence[Row], key: str, order: str | None = None) -> list[list[Row]]:
    """Rows of one key together, in the order of the table, or of a column of numbers."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    if order is None:
        return [*found.values()]
    return [sorted(group, key=lambda row: float(row[order])) for group in found.values()]


def value(text: str) -> Any:
    """A cell as JSON has it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def lines(rows: Sequence[Mapping[str, Any]]) -> File:
    return "d.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()


def arrays(**columns: Any) -> File:
    buffer = io.BytesIO()
    np.savez(buffer, **columns)
    return "d.npz", buffer.getvalue()


def nested(key: str, once: Sequence[str], each: Sequence[str], order: str | None = None) -> Callable[[list[Row]], File]:
    """A line of JSON for each key: what its rows have once, and lists of what each has."""

    def write(rows: list[Row]) -> File:
        return lines(
            [
                {name: value(group[0][name]) for name in once} | {name: [value(r[name]) for r in group] for name in each}
                for group in groups(rows, key, order)
            ]
        )

    return write


def twice_nested(outer: str, inner: str, each: Sequence[str]) -> Callable[[list[Row]], File]:
    """A line of JSON for each key of the outer plate, with lists of lists."""
    return lambda rows: lines(
        [
            {name: [[value(row[name]) for row in deep] for deep in groups(group, inner)] for name in each}
            for group in groups(rows, outer)
        ]
    )


def wide(key: str, item: str, columns: Sequence[str]) -> Callable[[list[Row]], File]:
    """A row for each key, with columns x_1, x_2, ... for the items in the order of their labels."""

    def write(rows: list[Row]) -> File:
        items = sorted({row[item] for row in rows})
        head = [f"{name}_{i + 1}" for name in columns for i in range(len(items))]
        body = []
        for group in groups(rows, key):
            cells = {row[item]: row for row in group}
            body.append([cells[label][name] if label in cells else "" for name in columns for label in items])
        return "d.csv", "".join(",".join(row) + "\n" for row in [head, *body]).encode()

    return write


def cells(outer: str, inner: str, name: str) -> Callable[[list[Row]], File]:
    """One array over two plates, in the order of their labels."""

    def write(rows: list[Row]) -> File:
        at = {(row[outer], row[inner]): float(row[name]) for row in rows}
        first, second = (sorted({row[key] for row in rows}) for key in (outer, inner))
        return arrays(**{name: np.array([[at[a, b] for b in second] for a in first])})

    return write


def padded(key: str, each: Sequence[str]) -> Callable[[list[Row]], File]:
    """Arrays (keys, rows of each), where all keys have as many rows."""
    return lambda rows: arrays(
        **{name: np.array([[float(row[name]) for row in group] for group in groups(rows, key)]) for name in each}
    )


def spaced(key: str, once: Sequence[str], each: Sequence[str]) -> Callable[[list[Row]], File]:
    """A row for each key, whose cells hold what its rows have, with white space between."""

    def write(rows: list[Row]) -> File:
        body = [
            [*(group[0][name] for name in once), *(" ".join(row[name] for row in group) for name in each)]
            for group in groups(rows, key)
        ]
        return "d.csv", "".join(",".join(row) + "\n" for row in [[*once, *each], *body]).encode()

    return write


# By name: what is said of the table beside its name, and the same data in another form.
TABLES: dict[str, tuple[str, Callable[[list[Row]], File]]] = {
    "grunfeld": ("", nested("firm", (), ("value", "capital", "invest"), "year")),
    "modechoice": ("", wide("individual", "mode", ("gc", "ttme", "choice"))),
    "cronbach_alpha": ("--index person=Subj --index item=Items", wide("Subj", "Items", ("Scores",))),
    "icc": ("", cells("Wine", "Judge", "Scores")),
    "cochran": ("", spaced("Subject", (), ("Energetic",))),
    "recur": ("--index patient=ID", nested("ID", ("TREAT",), ("TIME0", "TIME1", "CENSOR"))),
    "stanford_heart": ("--index patient=id", nested("id", (), ("start", "stop", "age", "transplant", "event"))),
    "sleepstudy": ("", padded("Subject", ("Days", "Reaction"))),
    "epil": ("", spaced("subject", ("trt", "lbase"), ("y",))),
    "bacteria": ("--index child=ID --index swab=week", nested("ID", ("ap",), ("week", "y"))),
    "ohio": ("--index child=id", nested("id", (), ("resp",), "age")),
    "prussian": ("", cells("corp", "year", "y")),
    "grouseticks": ("", twice_nested("LOCATION", "BROOD", ("cHEIGHT", "TICKS"))),
}


def done(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", TABLES)
def test_a_table_as_it_lies_and_in_another_form(name: str, tmp_path: Path) -> None:
    options, write = TABLES[name]
    said, run = options.split(), str(tmp_path / "run")
    assert len(said) <= 4
    spec, long = HERE / f"{name}.vispec", HERE / f"{name}.csv"
    quick = ("--epochs", "2", "--restarts", "1", "--set", "precision=float64", "--no-verify", "--seed", "1")
    done("fit", str(spec), str(long), *said, "--out", run, *quick)
    other, content = write(table(name))
    (tmp_path / other).write_bytes(content)
    scores = [json.loads(done("eval", run, str(data), "--json", "--seed", "1")) for data in (long, tmp_path / other)]
    assert [score["rows"] for score in scores] == [scores[0]["rows"]] * 2
    assert scores[0]["tokens"] == scores[1]["tokens"] > 1
    assert scores[1]["log_prob"] == pytest.approx(scores[0]["log_prob"], abs=1e-9, rel=1e-13)


def test_each_table_says_where_it_comes_from() -> None:
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    assert len(TABLES) >= 10
    assert {path.stem for path in HERE.glob("*.csv")} == {path.stem for path in HERE.glob("*.vispec")} == {*TABLES}
    assert [name for name in TABLES if f"| `{name}.csv` |" not in readme] == []
