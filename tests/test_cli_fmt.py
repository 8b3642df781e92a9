"""The program around its commands, and `vispec fmt`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from vispec import __version__
from vispec.cli import main as program
from vispec.cli.main import main
from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.source import Source, Span

UNTIDY = "plate n:\n  observed x:real~Normal(0,1) # data\n"
TIDY = "plate n:\n    observed x : real ~ Normal(0, 1)  # data\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.vispec"
    path.write_text(UNTIDY)
    return path


# ---- fmt


def test_fmt_writes_in_place_and_keeps_permissions(spec: Path) -> None:
    spec.chmod(0o640)
    result = run("fmt", str(spec))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"rewrote {spec}\n")
    assert spec.read_text() == TIDY
    assert spec.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in spec.parent.iterdir()] == [spec.name]


def test_fmt_leaves_a_tidy_file_alone(spec: Path) -> None:
    spec.write_text(TIDY)
    before = spec.stat()
    result = run("fmt", str(spec))
    assert (result.exit_code, result.stderr) == (0, "")
    assert (spec.stat().st_ino, spec.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_fmt_check_writes_nothing(spec: Path) -> None:
    result = run("fmt", "--check", str(spec))
    assert (result.exit_code, result.stderr) == (1, f"would rewrite {spec}\n")
    assert spec.read_text() == UNTIDY
    spec.write_text(TIDY)
    assert run("fmt", "--check", str(spec)).exit_code == 0


def test_fmt_stdout(spec: Path) -> None:
    result = run("fmt", "--stdout", str(spec))
    assert (result.exit_code, result.stdout) == (0, TIDY)
    assert spec.read_text() == UNTIDY


def test_fmt_makes_foreign_line_ends_native(spec: Path) -> None:
    spec.write_bytes(b"\xef\xbb\xbf" + TIDY.replace("\n", "\r\n").encode())
    assert run("fmt", str(spec)).exit_code == 0
    assert spec.read_bytes() == TIDY.encode()


def test_fmt_follows_a_link(spec: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.vispec"
    link.symlink_to(spec)
    assert run("fmt", str(link)).exit_code == 0
    assert link.is_symlink()
    assert spec.read_text() == TIDY


def test_fmt_formats_the_others_where_one_does_not_parse(spec: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.vispec"
    bad.write_text("plate n\n")
    result = run("fmt", str(bad), str(spec))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{bad}:1:8: error[V011]")
    assert bad.read_text() == "plate n\n"
    assert spec.read_text() == TIDY


def test_fmt_json(spec: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.vispec"
    bad.write_text("plate n\n")
    result = run("fmt", "--json", str(bad), str(spec))
    told = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, told["ok"]) == (1, "", False)
    assert [file["changed"] for file in told["files"]] == [False, True]
    assert [diagnostic["code"] for diagnostic in told["files"][0]["diagnostics"]] == ["V011"]


# ---- the program


def test_usage_errors_exit_with_2(spec: Path) -> None:
    assert run("fmt").exit_code == 2
    assert run("fmt", "--stdout", "--json", str(spec)).exit_code == 2
    result = run("fnt", str(spec))
    assert result.exit_code == 2
    assert "Did you mean `fmt`?" in result.stderr


def test_version_and_help() -> None:
    assert run("--version").stdout == f"vispec, version {__version__}\n"
    assert "fmt" in run("--help").stdout


def test_a_file_that_is_not_text(spec: Path) -> None:
    spec.write_bytes(b"size \xff")
    result = run("fmt", str(spec))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not UTF-8" in result.stderr


def fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    @click.command("fails")
    @click.option("--json", is_flag=True)
    def fails(json: bool) -> None:
        raise error

    monkeypatch.setattr(program.Program, "list_commands", lambda *_: ["fails"])
    monkeypatch.setattr(program.Program, "get_command", lambda *_: fails)
    return run("fails", *arguments)


def test_each_failure_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vispec.train.errors import DivergenceError, InterruptionError, RunError

    source = Source("a.vispec", "size K")
    wrong = SpecError(source, [Diagnostic("V101", "no such name", Label(Span(5, 6, 1, 6, 1, 7)))])
    for error, code, text in (
        (wrong, 1, "a.vispec:1:6: error[V101]: no such name"),
        (FileNotFoundError(2, "No such file or directory", "x.tsv"), 1, "error: x.tsv: No such file or directory"),
        (RunError("no run here"), 1, "error: no run here"),
        (DivergenceError("z", "`z` is NaN"), 3, "error: `z` is NaN"),
        (InterruptionError(tmp_path), 130, "error: interrupted; the checkpoint is in"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("a bug"), 70, "internal error in vispec"),
    ):
        result = fails_with(error, monkeypatch)
        assert result.exit_code == code
        assert result.stderr.lstrip("\n").startswith(text)
        assert "Traceback" not in result.stderr


def test_diagnostics_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("a.vispec", "size K")
    wrong = SpecError(source, [Diagnostic("V101", "no such name", Label(Span(5, 6, 1, 6, 1, 7)))])
    result = fails_with(wrong, monkeypatch, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, told["ok"]) == (1, "", False)
    assert [(d["code"], d["line"], d["column"]) for d in told["diagnostics"]] == [("V101", 1, 6)]


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISPEC_DEBUG", "1")
    assert isinstance(fails_with(RuntimeError("a bug"), monkeypatch).exception, RuntimeError)


def test_a_closed_pipe_is_quiet(spec: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vispec", "fmt", "--stdout", str(spec)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_formatting_imports_no_torch(spec: Path) -> None:
    code = (
        "import sys; from vispec.cli.main import main; main(sys.argv[1:], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "fmt", str(spec)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "False\n"
