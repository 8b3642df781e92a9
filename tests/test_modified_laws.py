"""Laws of a law, drawn at random into small models: the emitted module against integrals and sums of the density inside."""

from random import Random

import pytest
import torch
from test_laws import one_thread, trial_of

from vispec.catalog import distributions, modifiers
from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.verify import checks
from vispec.verify.verify import verify

__all__ = ["one_thread"]
ARGUMENTS = {
    "real": ("a", "x", "a + x", "0.3"),
    "positive": ("s", "2 * s", "exp(x)", "0.8"),
    "unit": ("p", "sigmoid(x)", "0.35"),
}
BOUNDS = {
    "real": ("-0.4", "tanh(x) - 1", "0.9", "tanh(x) + 0.7"),
    "positive": ("0.3", "0.5 * sigmoid(x)", "1.4", "0.6 + exp(x)"),
    "unit": ("0.25", "0.5 * sigmoid(x)", "0.8", "0.5 + 0.5 * sigmoid(x)"),
    "count": ("1", "0", "3", "w + 2"),
    "bit": ("0", "0", "1", "1"),
}


def draw_law(random: Random, domain: str) -> str:
    """A law on the domain that has a distribution function, of random arguments."""
    entries = [e for e in distributions().values() if e.log_cdf and e.support == domain and e.name != "Zero"]
    entry = random.choice(entries)
    arguments = {name: random.choice(ARGUMENTS.get(d, ("w + 3",))) for name, d in entry.params.items()}
    arguments |= {name: end for name, end in {"low": "tanh(x) - 3", "high": "tanh(x) + 3"}.items() if name in arguments}
    return f"{entry.name}({', '.join(arguments.values())})"


def spec(seed: int) -> str:
    random = Random(seed)
    lines = ["param a : real", "param s : positive", "param p : unit", "plate n:", "    given x : real", "    given w : count"]
    lines += ["    latent b : bit ~ " + random.choice(["Bernoulli(p)", "Exactly(w > 1)", "Censored(Bernoulli(p), high=1)"])]
    lines += [
        "    latent c : category[3] ~ " + random.choice(["Exactly(2) if b else Uniform()", "Categorical([0.2, 0.3, 0.5])"])
    ]
    lines += ["    latent d : category[3] ~ Exactly(c)", "    observed e : real ~ Normal(a if d == 2 else b, 1)"]
    for number in range(3):
        domain = random.choice(list(BOUNDS))
        first, second, third, fourth = BOUNDS[domain]
        low, high = random.choice([first, second]), random.choice([third, fourth])
        ends = random.choice([f"low={low}", f"high={high}", f"low={low}, high={high}"] if domain != "bit" else ["high=1"])
        inner = draw_law(random, domain)
        if random.random() < 0.4:
            inner = f"{inner} if b else {draw_law(random, domain)}"
        indent, role = "    ", random.choice(["observed", "observed", "partial"])
        if random.random() < 0.3:
            lines += [f"    plate i{number}:"]
            indent = "        "
        shape = "[2]" if random.random() < 0.2 and role == "observed" else ""
        lines += [f"{indent}{role} y{number} : {domain}{shape} ~ {random.choice(list(modifiers()))}({inner}, {ends})"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(40))
def test_random_models_equal_brute_force(seed: int) -> None:
    trial = trial_of(spec(seed), seed)
    for check in (checks.check_log_prob(trial), checks.check_gradient(trial)):
        assert not check.differs, (check, spec(seed))
        assert check.skipped is None, (check, spec(seed))


@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_samples_are_possible(seed: int) -> None:
    trial = trial_of(spec(seed), seed)
    module, model = trial.built.module, trial.built.model
    lengths = {p.name: trial.batch[p.length_key] for p in model.plates if p.ragged}
    found = module.sample(3, trial.batch, lengths)  # pyright: ignore[reportCallIssue]
    drawn = {v.name: found[v.name] for v in model.variables if v.role in ("observed", "partial")}
    seen = {name: value for name, value in found.items() if name.endswith("_observed")}
    assert torch.isfinite(module.log_prob(trial.batch | drawn | seen)).all()


UNCOMPILED = {
    "latent u : real ~ Censored(Normal(0, 1), low=-1)": "masses",
    "latent u : real ~ Truncated(Normal(0, 1), high=1)": "no lower end",
    "partial u : real ~ Censored(Normal(0, 1), low=-1) if x > 0 else Normal(0, 1)": "masses",
}


@pytest.mark.parametrize("line", UNCOMPILED)
def test_what_cannot_be_drawn_is_said(line: str) -> None:
    text = f"plate n:\n    given x : real\n    {line}\n    observed y : real ~ Normal(u, 1)\n"
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("m.vispec", text), {})
    assert [(d.code, d.primary.text) for d in caught.value.diagnostics] == [("V718", UNCOMPILED[line])]
    unread = text.replace("Normal(u, 1)", "Normal(x, 1)").replace("latent", "partial")
    namespace: dict = {}
    exec(compile_spec(Source("m.vispec", unread), {}), namespace)
    batch = {"x": torch.ones(3), "y": torch.zeros(3), "u": torch.tensor([0.0, 0.5, 0.5])}
    found = namespace["M"]().log_prob(batch | {"u_observed": torch.tensor([True, True, False])})
    assert len(set(found.tolist())) == 3  # scored where it is seen


def test_a_truncated_latent_has_a_guide_with_its_ends() -> None:
    text = """param s : positive
latent a : positive ~ Truncated(Normal(0, 1), low=0)
plate n:
    given c : unit
    latent u : real ~ Truncated(Normal(0, a), low=-1, high=c)
    observed y : real ~ Normal(u, s)
"""
    report = verify(Source("m.vispec", text))
    assert report.checks
    assert not [check for check in report.checks if check.differs]
    module = compile_spec(Source("m.vispec", text), {})
    assert "into_interval" in module
    assert "above_end" in module
