"""Models that version 0.1.0 got wrong or could not compile, with others of each kind (`kind_...`): what `check` takes agrees
with brute force, without a false alarm; the rest is refused."""

from pathlib import Path

import pytest

from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

HERE = Path(__file__).parent
SPECS = sorted((HERE / "program").glob("*.vispec"))
REFUSED = {
    "index_order_ignored": ("V218", "write `B[k, c]`"),
    "index_order_of_a_category": ("V218", "write `B[k, c]`"),
    "partial_reads_its_prefix": ("V703", "every path would have to be enumerated"),
    "past_in_a_ragged_plate_of_a_chain": ("V720", "may have fewer elements of `shot`"),
    "past_of_a_latent_in_a_ragged_plate_of_a_chain": ("V720", "may have fewer elements of `shot`"),
    "past_of_a_given_in_a_ragged_plate_of_a_chain": ("V720", "may have fewer elements of `shot`"),
    "sequences_of_two_plates_side_by_side": ("V513", "`words`, over `j`, and `tags`, over `i`, side by side"),
    "three_sequences_of_three_plates": ("V513", "`words`, over `j`, and `tags`, over `i`, side by side"),
    "six_coupled": ("V711", "10^12"),
}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_it_agrees_with_brute_force(path: Path) -> None:
    report = verify(Source(path.name, path.read_text()))
    assert report.checks
    assert [check for check in report.checks if check.differs] == []


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    code, words = REFUSED[name]
    source = Source(f"{name}.vispec", (HERE / "refused" / f"{name}.vispec").read_text())
    with pytest.raises(SpecError) as error:
        plan_model(check_model(parse(source), {}))
    (found,) = error.value.diagnostics
    assert found.code == code
    assert words in f"{found.message} {found.help}"
