"""The plan as a value: what sums take as formulas, the runner-up, budgets and refusals with figures."""

import random
import time
from collections.abc import Iterator

import pytest

from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.budget import Budget, budget
from vispec.plan.planned import Plan
from vispec.plan.planner import plan_model
from vispec.plan.show import plan_json, show_plan
from vispec.program.cost import Numbers
from vispec.program.size import Size
from vispec.source import Source
from vispec.syntax.parse import parse


def plan(text: str, found: Budget | None = None) -> Plan:
    return plan_model(check_model(parse(Source("m.vispec", text))), found)


def refusal(text: str, found: Budget | None = None):
    with pytest.raises(SpecError) as caught:
        plan(text, found)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def tables(K: int) -> str:
    return f"size K = {K}\nparam p : simplex[K]\nplate k[K]:\n    param t : simplex[K]\n    param m : real\nplate n:\n"


def latents(parents: dict[int, int | None]) -> Iterator[str]:
    for node, parent in parents.items():
        yield f"    latent z{node} : index[k] ~ Categorical({'p' if parent is None else f't[z{parent}]'})\n"
        yield f"    observed x{node} : real ~ Normal(m[z{node}], 1)\n"


@pytest.mark.parametrize(("n", "K"), [(2, 3), (4, 50), (7, 12)])
def test_latents_in_a_row(n: int, K: int) -> None:
    found = plan(tables(K) + "".join(latents({i: i - 1 if i else None for i in range(n)})))
    assert found.order.terms == (n - 1) * K**2 + K
    assert found.cost.terms == f"{(n - 1) * K**2 + K} · |n|"


def test_a_tree_of_forty_latents() -> None:
    draw = random.Random(1)
    start = time.process_time()
    found = plan(tables(30) + "".join(latents({i: draw.randrange(i) if i else None for i in range(40)})))
    assert found.order.terms == 39 * 30**2 + 30
    assert time.process_time() - start < 2


def test_leaves_under_a_hub() -> None:
    found = plan(tables(10) + "".join(latents({i: 0 if i else None for i in range(16)})))
    assert found.order.terms == 15 * 100 + 10


def grid(rows: int, columns: int, K: int) -> str:
    text = f"size K = {K}\nplate k[K]:\n    param m : real\nplate n:\n"
    text += "".join(f"    latent z{r}{c} : index[k] ~ Uniform()\n" for r in range(rows) for c in range(columns))
    pairs = [((r, c), (r + 1, c)) for r in range(rows - 1) for c in range(columns)]
    pairs += [((r, c), (r, c + 1)) for r in range(rows) for c in range(columns - 1)]
    for a, b in pairs:
        one, other = (f"m[z{r}{c}]" for r, c in (a, b))
        text += f"    observed x{a[0]}{a[1]}_{b[0]}{b[1]} : real ~ Normal({one} + {other}, 1)\n"
    return text


def test_a_grid() -> None:
    assert plan(grid(3, 5, 4)).order.terms <= 4**4 * 15


def coupled(number: int, K: int, infer: str = "") -> str:
    text = f"size K = {K}\n" + "".join(f"param m{i} : real[K]\n" for i in range(number)) + "plate n:\n"
    text += "".join(f"    latent z{i} : category[K] ~ Uniform()\n" for i in range(number))
    total = " + ".join(f"m{i}[z{i}]" for i in range(number))
    return f"{text}    observed x : real ~ Normal({total}, 1)\n{infer}"


def test_all_with_all_is_refused_at_once() -> None:
    start = time.process_time()
    found = refusal(coupled(6, 100))
    assert time.process_time() - start < 0.5
    assert found.code == "V711"
    assert "10^12 terms a row" in found.message
    assert found.help is not None
    assert "--work 1010101010100" in found.help
    assert [label.text for label in found.related] == ["coupled with it"] * 5 + ["its law reads them"]


def test_a_budget_is_a_flag_away_or_in_the_spec() -> None:
    assert plan(coupled(6, 100), budget(1010101010100, None)).order.terms == sum(100**n for n in range(1, 7))
    text = coupled(3, 10)
    assert refusal(text, budget(1000, None)).code == "V711"
    assert plan(text, budget(1110, None)).order.terms == 1110
    assert plan(coupled(3, 10, "infer:\n    z0 : exact up to 2000\n"), budget(1000, None)).order.terms == 1110
    assert refusal(coupled(3, 10, "infer:\n    z0 : exact up to 1000\n")).code == "V711"


def test_the_runner_up() -> None:
    found = plan(tables(12) + "".join(latents({i: i - 1 if i else None for i in range(3)})))
    assert found.cost.runner_up == (12**3 + 12**2 + 12, "z1 first")
    assert "next:  1,884 terms a row in place of 300 (z1 first)" in show_plan(found)


ALIGNED = """\
size EN
net word(y: real[4], s: real[4]) -> simplex[EN] = linear(EN)
plate pair:
    plate j:
        given y : real[4]
    plate i:
        given    s : real[4]
        latent   a : index[j] ~ Uniform()
        observed x : category[EN] ~ Categorical(word(y[a], s))
"""


def test_bytes_count_what_each_value_is_along() -> None:
    """A net that reads the latent puts out EN numbers for each of its values, and its gradient needs them."""
    found = plan(ALIGNED)
    assert found.cost.terms == "|pair| · |i| · |j|"
    assert found.cost.bytes == "8 · |pair| · |i| · |j| · EN"
    told = refusal(ALIGNED, budget(None, 10**5, {"EN": 20000}))
    assert told.code == "V711"
    assert "320,000 bytes a row" in told.message
    assert plan(ALIGNED, budget(None, 10**6, {"EN": 20000}))


def test_what_a_net_gives_over_a_vocabulary_is_never_all_there() -> None:
    """Of each value of the latent one log-probability; all are counted where the whole law is read too."""
    found = plan(ALIGNED.replace("size EN", "vocab EN").replace("category[", "token["))
    assert found.cost.bytes == "8 · |pair| · |i| · |j|"
    law = ALIGNED.replace("size EN", "vocab EN").replace("category[", "token[").replace("word(y[a], s))", "word(s, s))")
    assert plan(law).cost.bytes == "4 · |pair| · |i|"
    read = law.replace("~ Categorical(word(s, s))", "~ Categorical(p)").replace(
        "        latent", "        let p = word(s, s)\n        latent"
    )
    assert "EN" in plan(f"{read}        observed u : real ~ Normal(sum(p), 1)\n").cost.bytes


def test_sizes_that_only_the_data_tell_refuse_nothing() -> None:
    text = "plate n:\n    chain i:\n        latent f : bit ~ Bernoulli(0.5)\n    observed x : real ~ Normal(total(f[*]), 1)\n"
    found = plan(text + "net total(f: bit*) -> real = linear(3) |> mean\n")
    assert found.cost.terms == "|n| · 2^|i|"


@pytest.mark.parametrize(
    ("law", "code"),
    [
        ("Uniform() then Uniform() then Uniform() then Categorical(stay[c[t-3]])", "V707"),
        ("Uniform() then Categorical(stay[c[t-1]])", None),
    ],
)
def test_chains_of_higher_order(law: str, code: str | None) -> None:
    """A chain of known length is taken apart where nothing sums it as one."""
    text = "plate k[2]:\n    param stay : simplex[2]\nplate n:\n    chain t{size}:\n"
    text += f"        latent   c : index[k] ~ {law}\n        observed x : real ~ Normal(c, 1)\n"
    assert plan(text.replace("{size}", "[5]")).exact
    if code is None:
        assert plan(text.replace("{size}", "")).exact
    else:
        assert refusal(text.replace("{size}", "")).code == code


def test_crossed_plates() -> None:
    text = "plate n:\n    plate i{i}:\n        latent a : bit ~ Bernoulli(0.3)\n    plate j{j}:\n"
    text += "        latent b : bit ~ Bernoulli(0.6)\n    plate i:\n        plate j:\n"
    text += "            observed x : real ~ Normal(a + 2 * b, 1)\n"
    assert refusal(text.replace("{i}", "").replace("{j}", "")).code == "V701"
    assert refusal(text.replace("{i}", "[40]").replace("{j}", "[40]")).code == "V701"
    found = plan(text.replace("{i}", "[3]").replace("{j}", ""))
    assert "summed, exact" in show_plan(found)


def test_rows_as_data() -> None:
    (row, _) = plan_json(plan("plate n:\n    latent c : bit ~ Bernoulli(0.3)\n    observed x : real ~ Normal(c, 1)\n"))
    assert row["cost"]["terms"] == "2 · |n|"
    assert row["treatment"] == "summed"


def test_sizes_as_formulas() -> None:
    n, K = Size.of("n"), Size.of("K")
    assert (2 * n + n * K**2).given({"K": 3}) == 11 * n
    assert sum([n, K], start=Size.of(0)).value({"n": 2, "K": 5}) == 7
    assert Numbers({"K": 3}).elements(()) == 1
