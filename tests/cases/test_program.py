"""Models that version 0.1.0 got wrong or could not compile, with others of each kind (`kind_...`): what `check` takes agrees
with brute force, without a false alarm; the rest is refused."""

from pathlib import Path

import pytest

from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.budget import Budget
from vispec.plan.planner import plan_model
from vispec.plan.show import show_plan
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


def test_memory_is_that_of_all_axes() -> None:
    """Of hard attention, whose logits have an axis of words besides both of the alignment; those over a vocabulary are made in
    pieces, so here it is one of categories."""
    text = (HERE / "program" / "memory_claim_a.vispec").read_text()
    words = check_model(parse(Source("a.vispec", text)), {"EN": 10_000})
    assert "EN" not in show_plan(plan_model(words)).split("bytes:")[1]
    text = text.replace("vocab EN(min_count=2, end=true)", "size EN").replace("token[EN]", "category[EN]")
    model = check_model(parse(Source("a.vispec", text)), {"EN": 10_000})
    assert "80000 · |pair| · |j| · |i| at the peak" in show_plan(plan_model(model))
    with pytest.raises(SpecError) as error:
        plan_model(model, Budget(memory=64_000, sizes={"EN": 10_000}))
    (found,) = error.value.diagnostics
    assert found.code == "V711"
    assert "along i, a, EN, 160,000 bytes a row" in found.message


@pytest.mark.parametrize(
    ("name", "terms"),
    [("tree_enumerated", 6 * 12 * 12 + 12), ("kind_hub_of_leaves", 4 + 3 * 16)],
)
def test_sums_cost_what_elimination_costs(name: str, terms: int) -> None:
    text = (HERE / "program" / f"{name}.vispec").read_text()
    plan = plan_model(check_model(parse(Source(f"{name}.vispec", text)), {}))
    assert f"sums:  {terms} · |n| terms" in show_plan(plan)
