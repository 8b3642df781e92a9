"""Which kernels a fit computes by: decided before its first step, told, and kept for whoever goes on with it."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.kernels.native import library as lib
from vispec.source import Source
from vispec.train.setup import native

needs_compiler = pytest.mark.skipif(lib.compiler() is None, reason="there is no C++ compiler")
HMM = """\
size K = 3
vocab V
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param emit  : simplex[V]

plate sentence:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : token[V] ~ Categorical(emit[c])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has the kernels of chains."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root))
        text = lib_text()
        lib.build(text, lib.place(text))
    return root


def lib_text() -> str:
    from vispec.kernels.native.chain import CHAIN_CPP

    return CHAIN_CPP


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISPEC_NATIVE")
    monkeypatch.setattr(native, "later", lambda text: None)
    lib.loaded.cache_clear()
    Path("hmm.vispec").write_text(HMM)
    Path("t.txt").write_text("a b c a\nb b\nc\na a b c c\n")


def fitted(out: str, *more: str, epochs: str = "3") -> tuple[str, str]:
    """What a fit said on standard error, and the kernels that its run is by."""
    arguments = ["fit", "hmm.vispec", "x=t.txt", "--out", out, "--epochs", epochs, "--no-verify", *more]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stderr, json.loads((Path(out) / "config.json").read_text())["settings"]["native"]


@needs_compiler
def test_the_first_fit_says_that_the_next_will_be_faster():
    told, by = fitted("one")
    assert by == "off"
    assert "being built for the next fit" in told


@needs_compiler
def test_what_is_built_is_used(monkeypatch: pytest.MonkeyPatch, built: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(built))
    assert fitted("one")[1] == "on"
    assert fitted("two", "--native", "off")[1] == "off"


@needs_compiler
def test_on_builds_at_once():
    told, by = fitted("one", "--native", "on")
    assert by == "on"
    assert "building native kernels, once on this machine" in told
    assert lib.place(lib_text()).exists()


def test_without_a_compiler_a_fit_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    told, by = fitted("one", "--native", "on")
    assert by == "off"
    assert "there is no C++ compiler" in told


def test_a_compiler_that_fails_ends_no_fit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "false")
    told, by = fitted("one", "--native", "on")
    assert by == "off"
    assert "torch's kernels are used" in told
    assert "failed" in told


def test_other_models_say_nothing():
    Path("m.vispec").write_text("param m : real\nplate n:\n    observed x : real ~ Normal(m, 1)\n")
    Path("m.csv").write_text("x\n1\n2\n")
    result = CliRunner().invoke(main, ["fit", "m.vispec", "m.csv", "--out", "m", "--native", "on", "--no-verify"])
    assert result.exit_code == 0, result.output
    assert "native" not in result.output


@needs_compiler
def test_a_module_computes_the_same_by_both(monkeypatch: pytest.MonkeyPatch, built: Path):
    """And by torch where its text carries no C++."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(built))
    texts = [compile_spec(Source("hmm.vispec", HMM), native=carried) for carried in (True, False)]
    assert [lib_text() in text for text in texts] == [True, False]
    assert "import ctypes" not in texts[1]
    batch = {"x": torch.randint(5, (6, 9)), "x_len": torch.randint(1, 10, (6,))}
    found = []
    for text in texts:
        emitted = ModuleType("emitted")
        exec(compile(text, "<emitted>", "exec"), vars(emitted))
        torch.manual_seed(0)
        module = emitted.Hmm(V=5).double()
        module.log_prob(batch).sum().backward()
        found.append([module.log_prob(batch).detach(), *(parameter.grad for parameter in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
