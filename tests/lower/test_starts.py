"""Which parameter a law reads at which index, however it is said; what it starts at, against groups by hand in float64."""

import itertools
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vispec.catalog import distributions
from vispec.compile import class_of
from vispec.lower.outputs import lower
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.torch.module import print_module
from vispec.train.store.module import class_of_text

ROWS = 40
SIZES = {"g": 3, "h": 2}
LAWS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "Normal": ("real ~ Normal({}, 1)", lambda x: x),
    "Poisson": ("count ~ Poisson(exp({}))", torch.log),
    "Bernoulli": ("bit ~ Bernoulli(sigmoid({}))", torch.logit),
}
"""The law of y with a real number in it, and what that number is of the law's own parameter."""


def module_of(text: str) -> nn.Module:
    emitted = print_module(lower(plan_model(check_model(parse(Source("spec.vispec", text))))))
    torch.manual_seed(0)
    return class_of_text(emitted, class_of(emitted))().double()


def drawn(rng: random.Random) -> tuple[str, list[str], str, str]:
    """A spec, the plates of its parameter m in order, y's law, and how m stands in it."""
    plates = rng.choice([[], ["g"], ["h"], ["g", "h"], ["h", "g"]])
    law, how = rng.choice(sorted(LAWS)), rng.choice(["plain", "let", "sum", "less", "where"])
    index = {"g": rng.choice(["a", "home[who]"]), "h": "b"}
    read = f"m[{', '.join(index[p] for p in plates)}]" if plates else "m"
    number = {
        "plain": read,
        "let": "rate",
        "sum": rng.choice([f"w * x + {read}", f"{read} + w * x"]),
        "less": f"{read} - w * x",
        "where": rng.choice([f"({read} if x > 0 else 1)", f"(1 if x <= 0 else {read})"]),
    }[how]
    lines = ["param w : real", "plate person[5]:", "    given home : index[g]"] if index["g"] != "a" else ["param w : real"]
    heads = [f"{'    ' * depth}plate {p}[{SIZES[p]}]:" for depth, p in enumerate(plates)]
    lines = [f"plate {p}[{n}]:\n    param unused_{p} : real" for p, n in SIZES.items() if p not in plates] + lines
    lines = [*heads, f"{'    ' * len(plates)}param m : real", *lines] if plates else ["param m : real", *lines]
    rows = ["given a : index[g]", "given b : index[h]", "given x : real"]
    if index["g"] != "a":  # a table in each row
        lines = [line for line in lines if "person" not in line and "home" not in line]
        rows += ["given who : index[person]", "plate person[5]:\n        given home : index[g]"]
    rows += [f"let rate = {read}"] if how == "let" else []
    rows += [f"observed y : {LAWS[law][0].format(number)}"]
    text = "\n".join([*lines, "plate n:", *(f"    {row}" for row in rows)]) + "\n"
    return text, plates, law, how


def batch_of(text: str, law: str, seed: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    batch = {name: torch.randint(size, (ROWS,), generator=g) for name, size in (("a", 3), ("b", 2), ("who", 5))}
    batch |= {"home": torch.randint(3, (ROWS, 5), generator=g), "x": torch.randn(ROWS, generator=g, dtype=torch.double)}
    y = {"Normal": torch.randn(ROWS, generator=g, dtype=torch.double) * 5 + 20}
    y |= {
        "Poisson": torch.randint(9, (ROWS,), generator=g).double(),
        "Bernoulli": torch.randint(2, (ROWS,), generator=g).double(),
    }
    return batch | {"y": y[law]}


def expected(text: str, plates: list[str], law: str, how: str, batch: dict[str, Tensor], old: Tensor) -> Tensor:
    """Group by group: the law's start from its elements, drawn towards that of all as by one element."""
    start = distributions()[law].start
    assert start is not None
    own = {"a": batch["a"], "home": batch["home"][torch.arange(ROWS), batch["who"]], "b": batch["b"]}
    index = {"g": own["home"] if "home[who]" in text else own["a"], "h": own["b"]}
    counts = batch["x"] > 0 if how == "where" else torch.ones(ROWS, dtype=torch.bool)
    at = list(distributions()[law].params).index({"Normal": "loc", "Poisson": "rate", "Bernoulli": "probs"}[law])
    whole, found = start(batch["y"][counts])[at], torch.zeros_like(old)
    for place in itertools.product(*(range(SIZES[p]) for p in plates)):
        rows = counts.clone()
        for p, value in zip(plates, place, strict=True):
            rows &= index[p] == value
        n = int(rows.sum())
        mine = start(batch["y"][rows])[at] if n else whole
        found[place] = LAWS[law][1](whole if n in (0, int(counts.sum())) else (n * mine + whole) / (n + 1))
    return torch.where(found.isfinite(), found, old)


@pytest.mark.parametrize("seed", range(40))
def test_a_parameter_starts_at_the_groups_of_its_index(seed: int) -> None:
    text, plates, law, how = drawn(random.Random(seed))
    module, batch = module_of(text), batch_of(text, law, seed)
    old = module.m.detach().clone()
    module.initialise(batch)
    torch.testing.assert_close(module.m.detach(), expected(text, plates, law, how, batch, old), msg=lambda m: f"{m}\n{text}")


@pytest.mark.parametrize(
    "law",
    [
        "Normal(m * x, 1)",  # a slope is not what a sample shows
        "Normal(1 - m, 1)",
        "Normal(max(m, 0), 1)",
        "Normal(m + x, exp(m))",  # of two places the first starts, the other is left
    ],
)
def test_what_is_computed_further_starts_nothing_of_its_own(law: str) -> None:
    module = module_of(f"param m : real\nplate n:\n    given x : real\n    observed y : real ~ {law}\n")
    y = torch.arange(10, dtype=torch.double)
    if "exp" in law:
        module.initialise({"x": y, "y": y})
        torch.testing.assert_close(module.m.detach(), y.mean())
    else:
        assert not hasattr(module, "initialise")


@pytest.mark.parametrize(("link", "inverse"), [("{}", lambda x: x), ("sigmoid({})", torch.logit)])
def test_a_net_starts_at_what_its_link_makes_of_it(link: str, inverse: Callable[[Tensor], Tensor]) -> None:
    """Where a net gives log-odds, its bias starts at the log-odds of what is seen."""
    law = f"bit ~ Bernoulli({link.format('f(x)')})" if "sigmoid" in link else f"real ~ Normal({link.format('f(x)')}, 1)"
    module = module_of(f"net f(x: real) -> real = linear(1)\nplate n:\n    given x : real\n    observed y : {law}\n")
    y = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.double)
    start = distributions()["Bernoulli" if "sigmoid" in link else "Normal"].start
    assert start is not None
    module.initialise({"x": torch.zeros(6, dtype=torch.double), "y": y})
    torch.testing.assert_close(module.f.out.bias.detach(), inverse(start(y)[0])[None])


def test_each_of_two_latents_has_clusters_of_its_own() -> None:
    """Two that one variable tells apart are two draws."""
    text = """plate k[4]:
    param a : real
    param b : real
plate n:
    latent   c : index[k] ~ Uniform()
    latent   d : index[k] ~ Uniform()
    observed x : real ~ Normal(a[c], 1)
    observed y : real ~ Normal(b[d], 1)
"""
    emitted = print_module(lower(plan_model(check_model(parse(Source("spec.vispec", text))))))
    assert emitted.count(" = clusters(self") + emitted.count(" = clusters(4") == 2
