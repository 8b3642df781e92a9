"""The generator's own laws: its specs are read and mostly accepted, hold every construct, come out the same for a seed, and are
enumerable; and what compares them sees a wrong number.

A few hundred of them are compared with brute force here; `python -m tests.random.run` compares as many as one likes."""

import json
import re
from random import Random

import pytest
import torch
from torch import nn

from tests.random.compare import DifferenceError, Outcome, compare, crash, loaded, misread, outcome
from tests.random.grammar import random_spec
from tests.random.kinds import FOLDER, value_of
from tests.random.names import POOL, Namer
from tests.random.roles import TEMPLATES, spec
from tests.random.shrink import candidates, shrunk
from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

MIXTURE = """param p : unit
plate n:
    latent z : bit ~ Bernoulli(p)
    observed x : real ~ Normal(z, 1)
"""


def accepted(seed: int, plain: bool) -> bool:
    """Whether `check` takes it; anything but a diagnostic is an error."""
    drawn = random_spec(seed, plain=plain)
    try:
        plan_model(check_model(parse(Source("drawn.vispec", drawn.text)), drawn.sizes))
    except SpecError:
        return False
    return True


@pytest.mark.parametrize("plain", [True, False])
def test_most_specs_are_accepted(plain: bool) -> None:
    assert sum(accepted(seed, plain) for seed in range(30)) >= 20


def test_all_specs_are_read() -> None:
    for seed in range(60):
        parse(Source("drawn.vispec", random_spec(seed, plain=seed % 2 == 0).text))


@pytest.mark.parametrize("seed", range(320))
def test_random_models_agree_with_brute_force(seed: int) -> None:
    """Half of them under ordinary names. What is refused is announced: nothing observed (V120), a past that the first element
    has not (V207), what nothing takes apart (V701) or exceeds the budget (V703), elements that may not be there (V720)."""
    drawn = random_spec(seed, plain=seed % 2 == 0)
    found = outcome(drawn.text, seed, drawn.meant, drawn.sizes)
    assert not found.fails, f"{found.detail}\n{drawn.text}"
    assert found.status != "refused" or found.kind in ("V120", "V207", "V701", "V703", "V720"), found.detail


def test_a_seed_is_a_spec() -> None:
    assert random_spec(7) == random_spec(7)
    assert random_spec(7).text != random_spec(8).text


CONSTRUCTS = {
    "a chain": r"chain \w+:",
    "a sized chain": r"chain \w+\[",
    "a plate opened again": r"    plate k\d+:",
    "a parameter in crossed plates": r"plate \w+:\n    plate \w+:\n        param",
    "a partial variable": r"partial \w+ : (bit|index|category|token)",
    "the past": r"\[t\d+-1\]",
    "two steps back": r"\[t\d+-2\]",
    "a prefix": r"\[<t\d+\]",
    "a whole sequence": r"\[\*\]",
    "a mask": r" where ",
    "a choice of laws": r"\) if .* else \w+\(",
    "a comprehension": r" for \w+\)",
    "logic": r" (and|or) ",
    "a let": r"let \w+ = ",
    "an index along with another": r"\w+\[\w+, \w+\]",
    "a selected element of a latent": r"z\d+\[[yz]\d+\]",
    "a length": r"\|\w+\|",
    "a net on a sequence": r"\*\) -> real",
    "a net with two heads": r"\(loc: real, scale: positive\)",
    "a pointer into the data": r"latent z\d+ : index\[[it]\d+\]",
    "jumps": r"real\[-2\.\.2\]",
    "a vocabulary": r"vocab ",
    "a table of all rows": r"\nplate \w+:\n    given",
    "ordered cuts": r"ordinal\(",
}


def test_everything_is_drawn() -> None:
    texts = [random_spec(seed).text for seed in range(600)]
    missing = [name for name, pattern in CONSTRUCTS.items() if not any(re.search(pattern, text) for text in texts)]
    assert missing == []


def test_the_pool_of_names() -> None:
    assert len(POOL) >= 150
    assert {"index", "loss", "lambda", "s", "a_over_b", "x_len", "forward", "torch", "decide"} <= set(POOL)
    namer = Namer(Random(0), plain=False)
    names = [namer("x") for _ in range(200)]
    assert len(set(names)) == 200


# ---- comparing


def test_a_right_module_agrees() -> None:
    assert outcome(MIXTURE).status == "agree"


class Shifted(nn.Module):
    """A module with one of its answers moved."""

    def __init__(self, module: nn.Module, of: str):
        super().__init__()
        self.raw_p, self.whole, self.of = module.raw_p, [module], of

    def log_prob(self, batch: dict) -> torch.Tensor:
        right = self.whole[0].log_prob(batch)
        moved = {"log_prob": right + 1e-8, "gradient": right + 1e-6 * (self.raw_p - self.raw_p.detach())}
        return moved.get(self.of, right)

    def posterior(self, batch: dict, query: str) -> dict:
        right = self.whole[0].posterior(batch, query=query)
        return {name: value + (1e-6 if self.of == "posterior" else 0) for name, value in right.items()}


@pytest.mark.parametrize("of", ["log_prob", "gradient", "posterior"])
def test_a_wrong_module_differs(of: str) -> None:
    source = Source("drawn.vispec", MIXTURE)
    module = Shifted(loaded(compile_spec(source)), of)
    with pytest.raises(DifferenceError, match=of):
        compare(check_model(parse(source), {}), module, 0, {})


def test_an_index_for_another_plate_is_seen() -> None:
    text = "plate k[2]:\n    param T : unit\nplate n:\n    given a : index[k]\n    observed x : bit ~ Bernoulli(T[a])\n"
    model = check_model(parse(Source("drawn.vispec", text)), {})
    assert misread(model, {"T": {frozenset({("k", "a")})}}) == ""
    assert "meant" in misread(model, {"T": {frozenset({("other", "a")})}})


def test_one_kind_for_other_names_and_numbers() -> None:
    first, second = (crash("run", ValueError(f"size {n} of tensor `{name}` (at {n})")) for n, name in ((3, "x"), (14, "loss")))
    assert first.kind == second.kind
    assert first.detail != second.detail


def test_shrinking_keeps_what_fails() -> None:
    text = random_spec(5).text
    line = next(line for line in text.splitlines() if "observed" in line)
    name = line.split()[1]
    small = shrunk(text, lambda t: f"observed {name} " in t, tries=2000)
    assert small.count("\n") < text.count("\n") / 2
    assert f"observed {name} " in small
    assert all(len(shorter) <= len(text) for shorter in list(candidates(text))[:50])


def test_every_role_has_a_model() -> None:
    for role in TEMPLATES:
        sizes = {"plain": 3} if role == "vocab" else None
        found = outcome(spec(role, "plain"), 1, sizes=sizes)
        assert found.status == "agree", (role, found)


def test_kinds_have_their_values() -> None:
    """Those of kinds that `check` accepts are what brute force says now."""
    paths = sorted(FOLDER.glob("*.vispec"))
    assert paths
    for path in paths:
        stored = json.loads(path.with_suffix(".json").read_text())
        try:
            found = value_of(path.read_text())
        except SpecError:
            continue
        assert stored["log_prob"] == pytest.approx(found["log_prob"], rel=1e-12), path.stem


def test_an_outcome_fails_or_not() -> None:
    assert Outcome("crash", "x").fails
    assert not Outcome("refused", "V101").fails
