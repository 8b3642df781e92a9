"""Where native kernels come from, and that whatever fails there, torch's take their place with one line about it."""

import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from vispec.kernels.native import library as lib
from vispec.train.setup.native import later

HERE = 'extern "C" int answer() { return 42; }\n'
needs_compiler = pytest.mark.skipif(lib.compiler() is None, reason="there is no C++ compiler")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, and nothing remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VISPEC_NATIVE", "on")
    lib.loaded.cache_clear()
    return tmp_path / "cache" / "vispec"


def told() -> str:
    """The one warning of a library that is not there."""
    with pytest.warns(UserWarning, match="no native kernels, torch's take their place") as found:
        assert lib.library(HERE) is None
    assert len(found) == 1
    return str(found[0].message)


@needs_compiler
def test_it_is_built_once(cache: Path):
    code = lib.library(HERE)
    assert code is not None
    assert code.answer() == 42
    assert [path.suffix for path in cache.iterdir()] == [".so"]
    assert not lib.place(HERE).stat().st_mode & 0o077


@needs_compiler
def test_auto_takes_what_is_there_and_builds_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VISPEC_NATIVE", "auto")
    assert lib.library(HERE) is None
    lib.build(HERE, lib.place(HERE))
    lib.loaded.cache_clear()
    assert lib.library(HERE) is not None


@needs_compiler
def test_off_takes_nothing(monkeypatch: pytest.MonkeyPatch):
    lib.build(HERE, lib.place(HERE))
    monkeypatch.setenv("VISPEC_NATIVE", "off")
    assert lib.library(HERE) is None


def test_no_compiler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "there is no C++ compiler" in told()


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho 'fatal: out of luck' >&2\nexit 1\n")
    script.chmod(0o700)
    monkeypatch.setenv("CXX", str(script))
    assert "fatal: out of luck" in told()


def test_a_cache_that_cannot_be_written(cache: Path):
    cache.parent.mkdir()
    cache.write_text("a file in the place of the folder")
    told()


def test_a_library_that_is_damaged(cache: Path):
    cache.mkdir(parents=True)
    lib.place(HERE).write_bytes(b"not a library")
    lib.place(HERE).chmod(0o700)
    told()


@needs_compiler
def test_what_others_can_write_is_not_run(cache: Path):
    lib.build(HERE, lib.place(HERE))
    lib.place(HERE).chmod(0o722)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lib.library(HERE) is None


@needs_compiler
def test_two_processes_build_at_once(cache: Path):
    build = f"from vispec.kernels.native.library import build, place; build({HERE!r}, place({HERE!r}))"
    both = [subprocess.Popen([sys.executable, "-c", build]) for _ in range(2)]
    assert [each.wait(timeout=120) for each in both] == [0, 0]
    assert lib.library(HERE) is not None
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_it_is_built_beside_a_fit_for_the_next_one(monkeypatch: pytest.MonkeyPatch):
    later(HERE)
    end = time.monotonic() + 300
    while not lib.place(HERE).exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    monkeypatch.setenv("VISPEC_NATIVE", "auto")
    assert lib.library(HERE) is not None


def test_another_compiler_or_processor_has_a_library_of_its_own(monkeypatch: pytest.MonkeyPatch):
    place = lib.place(HERE)
    monkeypatch.setattr(lib, "processor", lambda: "another")
    assert lib.place(HERE) != place
