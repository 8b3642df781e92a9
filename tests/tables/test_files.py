"""Files as people have them: blank lines, open quotes, other marks and encodings, arrays of objects, pipes, broken archives."""

import codecs
import io
import json
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tabled import Files, done, files, values, vispec, warned

from vispec.train.data import load

__all__ = ["files"]

LINE = "param a : real\nplate n:\n    given x : real\n    observed y : real ~ Normal(a * x, 1)\n"
ONE = "param mu : real\nplate n:\n    partial y : real ~ Normal(mu, 1)\n"
LABEL = "size K\nparam p : simplex[K]\nplate n:\n    given x : real\n    observed y : category[K] ~ Categorical(p)\n"
WORDS = "vocab V\nparam p : simplex[V]\nplate n:\n    plate i:\n        observed w : token[V] ~ Categorical(p)\n"
PAIRS = "vocab V\nvocab W\nparam p : simplex[V]\nplate n:\n    plate j:\n        given x : token[W]\n    plate i:\n"
PAIRS += "        observed y : token[V] ~ Categorical(p)\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
def test_blank_lines_of_one_column_are_rows(files: Files, name: str, end: str) -> None:
    data = files.read(ONE, name, f"y{end}1{end}NA{end}3{end}{end}")
    assert values(data, "y_observed") == [True, False, True, False]
    told = files.refused(ONE, name, f"{end}y{end}1{end}{end}z{end}")
    assert f"{name}:5: error[D118]: row 3" in told


def test_blank_lines_keep_files_aligned(files: Files) -> None:
    from tabled import model

    x, y = files.path("x.csv", "x\na b\n\nc d\n"), files.path("y.csv", "y\nx y\nz\n\n")
    batch = load(model(PAIRS), [f"x={x}", f"y={y}"]).batch([0, 1, 2])
    assert batch["x_len"].tolist() == [2, 0, 2]
    assert batch["y_len"].tolist() == [2, 1, 0]


def test_blank_lines_of_positions_in_text(files: Files) -> None:
    data = files.read(ONE, "d.txt", "1\n\n3\n", columns={"y": ("#1",)})
    assert values(data, "y_observed") == [True, False, True]


def test_blank_lines_between_rows_of_several_cells_are_none(files: Files) -> None:
    assert files.read(LINE, "d.csv", "\nx,y\n\n1,2\n\n3,4\n\n").num_rows == 2


def test_a_name_over_two_lines(files: Files) -> None:
    data = files.read(LINE, "d.csv", '"x\n1",y\n1,2\n3,4\n', columns={"x": ("x\n1",)})
    assert values(data, "x") == [1, 3]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('x,y\n1,"red\n2,green\n3,blue\n', 2),
        ('x,y\n1,green\n2,"red\n3,blue\n', 3),
        ('x,y\n1,"red\n2,green\n3,"blue"\n', 2),
        ('x,y\n"1\n2","red\n3,"blue"\n', 3),
        ('x,"y\n1,red\n2,blue\n', 1),
    ],
)
def test_an_open_quote_is_named(files: Files, content: str, line: int) -> None:
    assert f"d.csv:{line}: error[D105]: a quotation mark opens a cell here" in files.refused(LABEL, "d.csv", content)


def test_closed_quotes_are_cells(files: Files) -> None:
    data = files.read(LABEL, "d.csv", 'x,y\n1,"r""e\nd"\n2,gr"een\n3,"bl,ue"\n')
    assert data.encoders.labels == {"K": ("bl,ue", 'gr"een', 'r"e\nd')}


def test_semicolons_and_decimal_commas(files: Files) -> None:
    data = files.read(LINE, "d.csv", "x;y\n0,5;1\n-1,25;2\n;3\n".replace(";3", "0;3"))
    assert values(data, "x") == [0.5, -1.25, 0]
    assert "semicolons, and a comma in a number is a decimal point" in warned(data)["D196"]
    assert values(files.read(LINE, "d.csv", "x;y\n0.5;1\n"), "x") == [0.5]
    assert "'0,5' is not a number" in files.refused(LINE, "d.csv", "x;y\n0,5;1\n0.5;1\n")
    assert values(files.read(LINE, "d.csv", "x\ty\n0.5\t1\n"), "x") == [0.5]
    assert "D196" not in warned(files.read(LINE, "d.csv", "x,y\n0.5,1\n"))


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_LE, "utf-32-le")],
)
@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_wide_encodings(files: Files, mark: bytes, encoding: str, name: str) -> None:
    text = "x,y\n1,é\n2,a\n" if name == "d.csv" else '{"x": 1, "y": "é"}\n{"x": 2, "y": "a"}\n'
    data = files.read(LABEL, name, mark + text.encode(encoding))
    assert data.encoders.labels == {"K": ("a", "é")}


def test_half_a_character_is_an_error(files: Files) -> None:
    assert "D104" in files.refused(LABEL, "d.csv", codecs.BOM_UTF16_LE + "x,y".encode("utf-16-le") + b"\n")


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_objects(files: Files, indent: int | None) -> None:
    rows = [{"x": 1, "y": 2.5}, {"x": 2, "y": 3}]
    assert values(files.read(LINE, "d.json", json.dumps(rows, indent=indent)), "y") == [2.5, 3]
    told = files.refused(LINE, "d.json", json.dumps([*rows, {"x": "q", "y": 1}], indent=indent))
    assert "d.json: error[D114]: row 3, column `x`" in told
    assert "orient='records'" in files.refused(LINE, "d.json", '{"x": {"0": 1}, "y": {"0": 2}}')


def test_a_pipe_is_read_whole(files: Files) -> None:
    lines = "".join(f"a b c d e f g h {i:04}\n" for i in range(1000))
    run, spec = str(files.folder / "run"), files.path("m.vispec", WORDS)
    done("fit", spec, files.path("t.txt", lines), "--out", run, "--no-verify", "--epochs", "1")
    expected = json.loads(done("eval", run, str(files.folder / "t.txt"), "--json"))
    assert expected["rows"] == 1000
    assert json.loads(done("eval", run, pipe(files.folder / "p.txt", lines), "--json")) == expected


def test_a_pipe_of_a_table(files: Files) -> None:
    from tabled import model

    data = load(model(LINE), [pipe(files.folder / "p.csv", "x,y\n1,2\n3,4\n")])
    assert values(data, "y") == [2, 4]


def pipe(place: Path, content: str) -> str:
    """A named pipe into which someone writes."""
    os.mkfifo(place)
    threading.Thread(target=place.write_text, args=(content,), daemon=True).start()
    return str(place)


def test_a_member_that_is_no_array(files: Files) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.npy", b"zz")
    result = vispec("fit", files.path("m.vispec", WORDS), files.path("d.npz", buffer.getvalue()), "--no-verify")
    assert result.exit_code == 1
    assert "D105" in result.output
    assert "its member `w` is no array" in result.output


@pytest.mark.parametrize("count", [2**30, 2**31 - 10, 2**40])
def test_counts_past_the_memory(files: Files, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from vispec.train.data.readers import npz

    monkeypatch.setattr(npz, "memory", lambda: 2**33)
    buffer = io.BytesIO()
    np.savez(buffer, indptr=np.array([0, 2, 3]), indices=np.array([0, 1, 2]), counts=np.array([1, 2, count]))
    assert "more than fit in memory" in files.refused(WORDS, "d.npz", buffer.getvalue())


def test_a_file_past_the_memory(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 8.00 GiB")

    monkeypatch.setattr(np, "load", too_much)
    assert "error[D101]: there is not enough memory for it" in files.refused(WORDS, "d.npz", b"PK")


def test_a_key_without_a_name_in_json_lines_feeds_nothing(files: Files) -> None:
    spec = "plate n:\n    observed y : real ~ Normal(0, 1)\n"
    assert values(files.read(spec, "d.jsonl", '{"": "1", "y": 2}\n{"": "2", "y": 3}\n'), "y") == [2, 3]
