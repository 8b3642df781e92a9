"""Every spec under tests/bad is refused, with exactly the text kept beside it; every code has such a spec."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vispec.diagnostics import SpecError, render
from vispec.model.check import check
from vispec.model.codes import CODES as MODEL_CODES
from vispec.source import Source
from vispec.syntax.codes import CODES as SYNTAX_CODES
from vispec.syntax.parse import parse

BAD = Path(__file__).with_name("bad")
SYNTAX = sorted((BAD / "syntax").glob("*.vispec"))
MODEL = sorted((BAD / "model").glob("*.vispec"))


def read(path: Path) -> Source:
    """The spec under its bare name, so that the rendering does not depend on where the tests lie."""
    return Source(path.name, Source.read(path).text)


@pytest.mark.parametrize("path", SYNTAX, ids=lambda path: path.stem)
def test_syntax_errors(path: Path, golden: Callable[[Path, str], None]) -> None:
    source = read(path)
    with pytest.raises(SpecError) as caught:
        parse(source)
    golden(path.with_suffix(".expected"), render(source, caught.value.diagnostics))
    assert path.stem.split("_")[0] in {diagnostic.code for diagnostic in caught.value.diagnostics}


@pytest.mark.parametrize("path", MODEL, ids=lambda path: path.stem)
def test_model_errors(path: Path, golden: Callable[[Path, str], None]) -> None:
    source = read(path)
    _, found = check(parse(source))
    golden(path.with_suffix(".expected"), render(source, found))
    assert path.stem.split("_")[0] in {diagnostic.code for diagnostic in found}


@pytest.mark.parametrize(("codes", "paths"), [(SYNTAX_CODES, SYNTAX), (MODEL_CODES, MODEL)], ids=["syntax", "model"])
def test_every_code_has_a_bad_spec(codes: dict[str, str], paths: list[Path]) -> None:
    assert set(codes) - {path.stem.split("_")[0] for path in paths} == set()
