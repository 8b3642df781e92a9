"""`fit: fixed` keeps what it names, `fit: weight` takes a row as so many rows, and `--params` starts at values of a file."""

import csv
import json
import random
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.source import Source

MODELS = {
    "mixture": """plate k[2]:
    param mu : real
param sd : positive
param pi : simplex[2]
plate n:
    given    w : {w}
    latent   z : index[k] ~ Categorical(pi)
    observed x : real ~ Normal(mu[z], sd)
""",
    "sequence": """param rate : positive
param p : unit
plate n:
    given w : {w}
    plate i:
        latent   z : bit ~ Bernoulli(p)
        observed x : count ~ Zero() if z else Poisson(rate)
""",
    "bound": """param mu : real
param sd : positive
plate n:
    given    w : {w}
    latent   z : real ~ Normal(mu, 1)
    observed x : real ~ Normal(z, sd)
guide:
    z ~ Normal(g(x))
net g(x: real) -> (loc: real, scale: positive) = linear(2)
""",
    "shared": """param sd : positive
latent mu : real ~ Normal(0, 3)
plate n:
    given    w : {w}
    observed x : real ~ Normal(mu, sd)
""",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


def run(*arguments: str) -> dict:
    result = CliRunner().invoke(main, [*arguments, "--threads", "1", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def module_of(text: str) -> torch.nn.Module:
    code = compile_spec(Source("m.vispec", text))
    namespace: dict = {}
    exec(code, namespace)
    return namespace[class_of(code)]().double()


def batch_of(name: str, w: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n = len(w)
    if name == "sequence":
        lengths = torch.randint(1, 4, (n,), generator=generator)
        return {"w": w, "x": torch.randint(0, 3, (n, 3), generator=generator).double(), "x_len": lengths}
    return {"w": w, "x": 2 * torch.randn(n, generator=generator, dtype=torch.float64)}


# ---- weights


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["count", "real"])
def test_the_loss_counts_rows_by_their_weights(name: str, kind: str) -> None:
    """At the same noise: the sum over rows, each as often as it counts; and by minibatches it is the same in the mean."""
    w = torch.tensor([3.0, 0, 1, 2, 1, 5]).double() * (1 if kind == "count" else 0.75)
    module = module_of(MODELS[name].format(w=kind) + "fit:\n    weight : w\n").eval()
    batch = batch_of(name, w, 1)
    torch.manual_seed(0)
    shared = module.shared() if hasattr(module, "shared") else ()  # type: ignore[operator]
    each = module.log_prob(batch, shared) if shared else module.log_prob(batch)  # type: ignore[operator]
    expected = -(w * each).sum() - (shared[-1] if shared else 0)
    torch.manual_seed(0)
    assert float((module.loss(batch, num_data=6) - expected).detach()) == pytest.approx(0, abs=1e-10)  # type: ignore[operator]
    if name == "bound":
        return  # halves would have other noise
    parts = []
    for rows in (slice(0, 3), slice(3, 6)):
        torch.manual_seed(0)
        parts.append(module.loss({key: value[rows] for key, value in batch.items()}, num_data=6))  # type: ignore[operator]
    assert float(((parts[0] + parts[1]) / 2 - expected).detach()) == pytest.approx(0, abs=1e-10)


def test_an_impossible_row_that_counts_for_nothing_adds_nothing() -> None:
    text = "param p : unit\nplate n:\n    given w : count\n    observed x : bit ~ Bernoulli(p if w > 0 else 0)\n"
    module = module_of(text + "fit:\n    weight : w\n")
    loss = module.loss({"w": torch.tensor([0.0, 2]).double(), "x": torch.ones(2).double()}, num_data=2)  # type: ignore[operator]
    loss.backward()
    assert bool(loss.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


def write(path: str, rows: list[dict]) -> None:
    with Path(path).open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_are_as_good_as_rows(seed: int) -> None:
    rng = random.Random(seed)
    rows = [{"w": rng.choice([0, 1, 1, 2, 5]), "x": round(rng.gauss(4 * rng.randint(0, 1), 1), 3)} for _ in range(25)]
    write("short.csv", rows)
    write("long.csv", [{"w": 1, "x": row["x"]} for row in rows for _ in range(row["w"])])
    Path("m.vispec").write_text(MODELS["mixture"].format(w="count") + "fit:\n    weight : w\n    restarts : 3\n")
    short, long = (run("fit", "m.vispec", f"{name}.csv", "--out", name) for name in ("short", "long"))
    assert short["train"]["rows"] == long["train"]["rows"] == sum(row["w"] for row in rows)
    assert short["train"]["tokens"] == long["train"]["tokens"]
    for key in ("log_prob", "log_prob_per_row", "log_prob_per_token"):
        assert short["train"][key] == pytest.approx(long["train"][key], rel=1e-7)
    one, other = (run_params(name) for name in ("short", "long"))
    for key in ("rows", "free_parameters", "aic", "bic"):
        assert one[key] == pytest.approx(other[key], rel=1e-6)
    assert scores(one) == pytest.approx(scores(other), rel=1e-4, abs=1e-5)
    result = CliRunner().invoke(main, ["eval", "short", "short.csv"])
    assert f"{short['train']['rows']} rows" in result.output


def run_params(folder: str) -> dict:
    result = CliRunner().invoke(main, ["params", folder, "--json", "--order", "mu"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def scores(estimates: dict) -> list[float]:
    return [entry[key] for entry in estimates["parameters"] for key in ("estimate", "se")]


def test_weights_reach_the_steps_along_gradients() -> None:
    """One full step of plain gradient descent, whose length is the rate times the gradient per row that counts."""
    rows = [{"w": w, "x": x} for w, x in ((3, 1.0), (1, -2.0), (0, 50.0))]
    write("d.csv", rows)
    text = "param mu : real = 0\nplate n:\n    given w : count\n    observed x : real ~ Normal(mu, 1)\nfit:\n    weight : w\n"
    Path("m.vispec").write_text(text)
    arguments = ("--set", "optimizer=sgd", "--lr", "0.1", "--epochs", "1", "--out", "run")
    run("fit", "m.vispec", "d.csv", *arguments)
    assert load_file("run/best.safetensors")["mu"].item() == pytest.approx(0.1 * (3 * 1 - 2) / 4, rel=1e-6)


@pytest.mark.parametrize(("w", "told"), [("-1", "is no weight"), ("0", "all 0")])
def test_what_is_no_weight_is_told(w: str, told: str) -> None:
    Path("d.csv").write_text(f"w,x\n{w},1\n")
    Path("m.vispec").write_text(MODELS["mixture"].format(w="real") + "fit:\n    weight : w\n")
    result = CliRunner().invoke(main, ["fit", "m.vispec", "d.csv", "--threads", "1"])
    assert result.exit_code == 1
    assert told in result.output


# ---- fixed


NETS = """param mu : real = 0.7
param sd : positive = 0.1
param slope : real
net g(x: real) -> real = {net}
latent tau : positive ~ Gamma(2, 2)
plate n:
    given    y : real
    observed x : real ~ Normal(mu + slope * y + g(y) + tau, sd)
infer:
    tau : map()
fit:
    fixed : {fixed}
    optimizer : {optimizer}
"""
POSSIBLE = ("mu", "sd", "slope", "g", "tau")


def random_rows(seed: int, count: int = 20) -> list[dict]:
    rng = random.Random(seed)
    return [{"y": round(y, 3), "x": round(2 * y + rng.gauss(0, 1), 3)} for y in (rng.gauss(0, 1) for _ in range(count))]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_fixed_stays_and_the_rest_moves(seed: int) -> None:
    rng = random.Random(seed)
    fixed = rng.sample(POSSIBLE, rng.randint(1, 4))
    optimizer = rng.choice(["newton", "adam(0.01)", "lbfgs"])
    if optimizer == "newton":
        fixed += ["tau"] * ("tau" not in fixed)
        net = "linear(2)"
    else:
        net = "mlp([3])"
    if set(fixed) == set(POSSIBLE):
        fixed.remove("slope")
    write("d.csv", random_rows(seed))
    text = NETS.format(net=net, fixed=", ".join(fixed), optimizer=optimizer)
    if optimizer == "newton":
        text = text.replace("latent tau : positive ~ Gamma(2, 2)\n", "param tau : positive = 2\n").replace(
            "infer:\n    tau : map()\n", ""
        )
    Path("m.vispec").write_text(text)
    run("fit", "m.vispec", "d.csv", "--epochs", "3", "--restarts", "1", "--out", "run")
    state, started = load_file("run/best.safetensors"), load_file("run/start.safetensors")
    names = {"mu": "mu", "sd": "raw_sd", "slope": "slope", "tau": "raw_tau" if optimizer == "newton" else "raw_tau_point"}
    for name in ("mu", "sd"):
        same = torch.allclose(state[names[name]].double(), started[names[name]], rtol=1e-6, atol=0)
        assert same == (name in fixed), name
    estimates = run_params_plain("run")
    notes = {entry["name"]: entry["note"] for entry in estimates["parameters"]}
    assert {name for name, note in notes.items() if note == "fixed"} == set(fixed) - {"g"}
    assert all(entry["se"] is None for entry in estimates["parameters"] if entry["name"] in fixed)
    assert [each["note"] for each in estimates["folded"] if each["name"] == "g"] == ["net, fixed" if "g" in fixed else "net"]


def run_params_plain(folder: str) -> dict:
    return json.loads(CliRunner().invoke(main, ["params", folder, "--json"]).stdout)


def test_a_fixed_net_is_kept_whole_from_another_run() -> None:
    write("d.csv", random_rows(3))
    Path("a.vispec").write_text(NETS.format(net="mlp([3])", fixed="mu", optimizer="adam(0.01)"))
    Path("b.vispec").write_text(NETS.format(net="mlp([3])", fixed="g, tau", optimizer="adam(0.01)"))
    run("fit", "a.vispec", "d.csv", "--epochs", "2", "--out", "a")
    run("fit", "b.vispec", "d.csv", "--epochs", "2", "--from", "a", "--out", "b")
    a, b = load_file("a/best.safetensors"), load_file("b/best.safetensors")
    for name in a:
        kept = name.startswith("g.") or name == "raw_tau_point"
        assert torch.equal(a[name], b[name]) == kept, name


def test_fixed_parameters_are_not_free() -> None:
    write("d.csv", random_rows(4))
    text = "param a : real{a}\nparam b : real\nparam sd : positive\nplate n:\n    given y : real\n"
    text += "    observed x : real ~ Normal(a + b * y, sd)\n"
    Path("free.vispec").write_text(text.format(a=""))
    Path("held.vispec").write_text(text.format(a=" = 0.1") + "fit:\n    fixed : a\n")
    for name in ("free", "held"):
        run("fit", f"{name}.vispec", "d.csv", "--out", name)
    free, held = run_params_plain("free"), run_params_plain("held")
    assert (free["free_parameters"], held["free_parameters"]) == (3, 2)
    values = {entry["name"]: entry for entry in held["parameters"]}
    assert values["a"]["estimate"] == 0.1  # as written, in float64
    y, x = (torch.tensor([row[key] for row in random_rows(4)], dtype=torch.float64) for key in ("y", "x"))
    slope = float((y * (x - 0.1)).sum() / y.square().sum())
    deviation = float((x - 0.1 - slope * y).square().mean().sqrt())
    assert values["b"]["estimate"] == pytest.approx(slope, rel=1e-6)
    assert values["b"]["se"] == pytest.approx(deviation / float(y.square().sum().sqrt()), rel=1e-4)


def test_a_fit_with_fixed_parameters_resumes_alike() -> None:
    write("d.csv", random_rows(5))
    Path("m.vispec").write_text(NETS.format(net="mlp([3])", fixed="g, mu", optimizer="adam(0.01)"))
    run("fit", "m.vispec", "d.csv", "--epochs", "6", "--out", "whole")
    run("fit", "m.vispec", "d.csv", "--epochs", "3", "--out", "part")
    run("fit", "m.vispec", "d.csv", "--epochs", "6", "--out", "part", "--resume")
    whole, part = load_file("whole/best.safetensors"), load_file("part/best.safetensors")
    assert all(torch.equal(whole[name], part[name]) for name in whole)


def test_a_model_that_leaves_nothing_to_fit_is_a_run_in_no_steps() -> None:
    """Without parameters, with fixed ones, and with one that no law reads."""
    write("d.csv", random_rows(6))
    law = "plate n:\n    observed x : real ~ Normal({}, 1)\n"
    specs = {
        "none": law.format(1),
        "fixed": "param a : real = 1\n" + law.format("a") + "fit:\n    fixed : a\n",
        "unread": "param a : real\n" + law.format(1),
    }
    for name, text in specs.items():
        Path(f"{name}.vispec").write_text(text)
        result = run("fit", f"{name}.vispec", "d.csv", "--out", name)
        assert result["steps"] == 0
        scores = [run("eval", each, "d.csv")["log_prob"] for each in (name, "none.vispec")]
        assert scores[0] == scores[1]


def test_parameters_by_hand_in_place_of_a_run() -> None:
    write("d.csv", random_rows(6))
    Path("m.vispec").write_text("param a : real\nplate n:\n    observed x : real ~ Normal(a, 1)\n")
    Path("one.vispec").write_text("plate n:\n    observed x : real ~ Normal(1, 1)\n")
    Path("p.json").write_text('{"a": 1}')
    found = run("eval", "m.vispec", "d.csv", "--params", "p.json")
    assert found["log_prob"] == run("eval", "one.vispec", "d.csv")["log_prob"]
    for command in ("eval", "posterior", "predict"):
        result = CliRunner().invoke(main, [command, "m.vispec", "d.csv"])
        assert result.exit_code == 1
        assert "m.vispec leaves `a` to fit: `vispec fit` does, or --params FILE says their values" in result.output


# ---- values of a file


VALUES = """plate k[2]:
    param mu : real[2]
param pi : simplex[3]
param L : cholesky[2]
param o : ordered[3]
param p : unit
latent tau : positive ~ Gamma(2, 2)
plate n:
    latent   z : index[k] ~ Uniform()
    observed x : real[2] ~ MultivariateNormal(mu[z], L)
    observed c : category[3] ~ Categorical(pi)
    observed b : bit ~ Bernoulli(p)
    observed y : real ~ Normal(sum(o), tau)
infer:
    tau : map()
"""


def test_what_params_prints_is_where_a_fit_starts() -> None:
    rng = random.Random(0)
    rows = [
        {"x1": rng.gauss(0, 1), "x2": rng.gauss(0, 2), "c": rng.choice("abc"), "b": rng.randint(0, 1), "y": rng.gauss(0, 1)}
        for _ in range(30)
    ]
    write("d.csv", rows)
    Path("m.vispec").write_text(VALUES)
    common = ("--columns", "x=x1,x2", "--set", "optimizer=adam(0.05)", "--set", "precision=float64")
    run("fit", "m.vispec", "d.csv", *common, "--epochs", "3", "--out", "a")
    Path("values.json").write_text(CliRunner().invoke(main, ["params", "a", "--json"]).stdout)
    still = (*common[:2], "--set", "optimizer=adam(1e-30)", "--set", "precision=float64", "--epochs", "1")
    run("fit", "m.vispec", "d.csv", *still, "--params", "values.json", "--out", "b")
    a, b = load_file("a/best.safetensors"), load_file("b/best.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        one, other = (value.softmax(-1) if name == "raw_pi" else value for value in (a[name], b[name]))
        assert torch.allclose(one.tril() if name == "raw_L" else one, other.tril() if name == "raw_L" else other, atol=1e-12), (
            name
        )


def test_a_plain_object_goes_before_what_the_spec_writes() -> None:
    write("d.csv", random_rows(7))
    Path("m.vispec").write_text(
        "param a : real = 1\nparam sd : positive\nplate n:\n    observed x : real ~ Normal(a, sd)\nfit:\n    fixed : a\n"
    )
    Path("v.json").write_text('{"a": 0.3}')
    run("fit", "m.vispec", "d.csv", "--params", "v.json", "--out", "run")
    assert load_file("run/best.safetensors")["a"].item() == 0.3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no JSON"),
        ("[1]", "expected an object"),
        ('{"b": 1}', "no parameter `b`"),
        ('{"sd": 0}', "above 0"),
        ('{"sd": [1, 2]}', "shape"),
        ('{"sd": "x"}', "must be a number"),
        ('{"parameters": [{"name": "sd"}]}', "lacks"),
    ],
)
def test_files_that_are_none_are_told(text: str, told: str) -> None:
    write("d.csv", random_rows(8))
    Path("m.vispec").write_text("param a : real = 1\nparam sd : positive\nplate n:\n    observed x : real ~ Normal(a, sd)\n")
    Path("v.json").write_text(text)
    result = CliRunner().invoke(main, ["fit", "m.vispec", "d.csv", "--params", "v.json"])
    assert result.exit_code == 1
    assert told in result.output
