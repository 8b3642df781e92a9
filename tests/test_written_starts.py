"""`param mu : real = 2.5`: what may be written, that the module starts there, and that a fit does, whatever its optimiser."""

import json
import random
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse

SPEC = """size K = {size}
{params}
plate n:
    observed x : real ~ Normal(0, 1)
{fit}"""


def source(params: str, size: int = 3, fit: str = "") -> Source:
    return Source("m.vispec", SPEC.format(params=params, size=size, fit=fit))


def module_of(text: Source) -> torch.nn.Module:
    code = compile_spec(text)
    namespace: dict = {}
    exec(code, namespace)
    torch.set_default_dtype(torch.float64)
    try:
        return namespace[class_of(code)]()
    finally:
        torch.set_default_dtype(torch.float32)


def shown(values) -> str:
    return f"[{', '.join(map(shown, values))}]" if isinstance(values, list) else f"{values:.6f}"


def inside(domain: str, n: int, rng: random.Random):
    """A value of a type of n numbers, or n by n."""
    numbers = [rng.uniform(0.1, 2) for _ in range(n)]
    if domain == "simplex":
        parts = [round(number / sum(numbers), 6) for number in numbers]
        return [*parts[:-1], round(1 - sum(parts[:-1]), 6)]
    if domain == "unit":
        return [number / 2.5 for number in numbers]
    if domain == "ordered":
        return [sum(numbers[: i + 1]) - 2 for i in range(n)]
    if domain == "cholesky":
        return [[0.0 if j > i else numbers[i] if i == j else rng.uniform(-1, 1) for j in range(n)] for i in range(n)]
    return [number - (1 if domain == "real" else 0) for number in numbers]


@pytest.mark.parametrize("domain", ["real", "positive", "unit", "simplex", "ordered", "cholesky"])
@pytest.mark.parametrize("plates", [0, 1, 2])
def test_a_module_starts_at_what_is_written(domain: str, plates: int) -> None:
    rng = random.Random(f"{domain}{plates}")
    n = rng.randint(2, 4)
    value = inside(domain, n, rng)
    line = f"param p : {domain}[{n}] = {shown(value)}"
    for depth in range(plates):
        line = f"plate k{depth}[{depth + 2}]:\n" + "\n".join(f"    {part}" for part in line.split("\n"))
    found = module_of(source(line)).p.detach()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    expected = torch.tensor(json.loads(shown(value)), dtype=torch.float64)
    assert found.shape == (*[depth + 2 for depth in reversed(range(plates))], *expected.shape)
    assert torch.allclose(found, expected.expand(found.shape), rtol=0, atol=1e-12)


def expression(rng: random.Random, depth: int) -> str:
    """Arithmetic of numbers and the size K."""
    if depth == 0:
        return rng.choice(["K", str(rng.randint(1, 4)), f"{rng.uniform(0.5, 3):.2f}"])
    left, right = expression(rng, depth - 1), expression(rng, depth - 1)
    return rng.choice([f"({left}) + {right}", f"{left} * ({right})", f"-({left})", f"({left}) - ({right})", f"{left} / 2"])


@pytest.mark.parametrize("seed", range(12))
def test_arithmetic_of_sizes_is_python_s(seed: int) -> None:
    rng = random.Random(seed)
    text, size = expression(rng, 3), rng.randint(2, 5)
    spec = source(f"param p : real[2] = {text}", size)
    assert module_of(spec).p.tolist() == pytest.approx([eval(text, {"K": size})] * 2, rel=1e-12)  # type: ignore[operator, union-attr]
    again = format_tree(parse(spec))
    assert check_model(parse(Source("m.vispec", again))).params[0].value is not None


def test_powers_bind_as_everywhere() -> None:
    assert module_of(source("param p : real = -2^2 + 2^-1")).p.item() == -3.5  # type: ignore[operator, union-attr]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("param p : positive = 0", "V309"),
        ("param p : positive = K - 3", "V309"),
        ("param p : unit = 1.5", "V309"),
        ("param p : unit = 1", "V309"),
        ("param p : simplex[K] = 0.5", "V309"),
        ("param p : simplex[2] = [0, 1]", "V309"),
        ("param p : ordered[2] = 1", "V309"),
        ("param p : cholesky[2] = 1", "V309"),
        ("param p : cholesky[2] = [[1, 1], [0, 1]]", "V309"),
        ("param p : real = 1 / 0", "V309"),
        ("param p : real = (-2)^0.5", "V309"),
        ("param p : real = 1e200^2", "V309"),
        ("param p : real[2] = [1, 2, 3]", "V308"),
        ("param p : real[2, 2] = [[1, 2], [3]]", "V308"),
        ("plate k[2]: param p : real = [1, 2]", "V308"),
        ("param p : real = exp(1)", "V322"),
        ("param p : real = [1] + 1", "V322"),
        ("param p : real = q", "V101"),
    ],
)
def test_what_cannot_start_there_is_told(line: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_model(parse(source(line)))
    assert code in {diagnostic.code for diagnostic in caught.value.diagnostics}


def test_a_start_suits_every_size_that_only_the_data_tell() -> None:
    good = source("size D\nparam p : simplex[D] = 1 / D")
    assert check_model(parse(good)).params[0].value is not None
    with pytest.raises(SpecError):
        check_model(parse(source("size D\nparam p : simplex[D] = 1 / 2")))
    with pytest.raises(SpecError):
        check_model(parse(source("size D\nparam p : real[D] = [1, 2]")))


def test_what_is_fixed_may_start_at_the_edge_of_its_domain() -> None:
    spec = source("param p : unit = 1\nparam s : simplex[2] = [0, 1]", fit="fit:\n    fixed : p, s\n")
    module = module_of(spec)
    assert module.p.item() == 1  # type: ignore[operator, union-attr]
    assert module.s.tolist() == [0, 1]  # type: ignore[operator, union-attr]


DATA = "x\n" + "\n".join(f"{0.3 * i - 2}" for i in range(14)) + "\n"
TWO = """plate k[2]:
    param mu : real{start}
param sd : positive{spread}
plate n:
    latent   z : index[k] ~ Uniform()
    observed x : real ~ Normal(mu[z], sd)
"""


@pytest.mark.parametrize("optimizer", ["newton", "adam"])
def test_a_fit_starts_there(optimizer: str, tmp_path: Path, monkeypatch) -> None:
    """All components equal, and so the gradient apart from a spread: a saddle that a drawn start would not be on."""
    monkeypatch.chdir(tmp_path)
    Path("d.csv").write_text(DATA)
    Path("m.vispec").write_text(TWO.format(start=" = 0.25", spread=" = 1.5"))
    quick = ("--lr", "1e-30") if optimizer == "adam" else ()
    arguments = ["fit", "m.vispec", "d.csv", "--epochs", "1", "--set", f"optimizer={optimizer}", "--threads", "1"]
    result = CliRunner().invoke(main, [*arguments, *quick, "--out", "run", "--json"])
    assert result.exit_code == 0, result.output
    told = load_file("run/start.safetensors")
    assert told["mu"].tolist() == [0.25, 0.25]
    if optimizer == "adam":
        assert load_file("run/best.safetensors")["mu"].tolist() == [0.25, 0.25]
    else:
        first = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[0])
        x = torch.tensor([0.3 * i - 2 for i in range(14)], dtype=torch.float64)
        at_start = torch.distributions.Normal(torch.tensor(0.25, dtype=torch.float64), 1.5).log_prob(x).mean()
        assert first["train"]["log_prob_per_row"] == pytest.approx(float(at_start), rel=1e-9)


def test_some_written_starts_leave_the_others_to_the_data(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.csv").write_text(DATA)
    Path("m.vispec").write_text(TWO.format(start="", spread=" = 1.5"))
    result = CliRunner().invoke(main, ["fit", "m.vispec", "d.csv", "--threads", "1", "--out", "run", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["converged"]
    assert list(load_file("run/start.safetensors")) == ["raw_sd"]
