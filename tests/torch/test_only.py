"""`compile --only`: some members of a module with what they need, and nothing else."""

import ast
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.lower.outputs import lower
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.torch.members.only import UnknownMemberError
from vispec.torch.module import print_module
from vispec.train.store.module import class_of_text

SPECS = Path(__file__).parents[2] / "specs"


def printed(name: str, *only: str) -> str:
    source = Source.read(SPECS / f"{name}.vispec")
    return print_module(lower(plan_model(check_model(parse(source), {}))), None, only)


def members(text: str) -> list[str]:
    model = next(node for node in reversed(ast.parse(text).body) if isinstance(node, ast.ClassDef))
    return [node.name for node in model.body if isinstance(node, ast.FunctionDef)]


def made(text: str, **sizes: int) -> nn.Module:
    torch.manual_seed(0)
    return class_of_text(text, class_of(text))(**sizes).double()


def test_the_log_probability_alone_is_that_of_the_whole() -> None:
    alone, whole = printed("hmm", "log_prob"), printed("hmm")
    assert members(alone) == ["__init__", "log_prob"]
    assert alone.count("\n") < whole.count("\n") / 2
    one, other = made(alone, V=7, K=3), made(whole, V=7, K=3)
    assert one.state_dict().keys() == {"raw_init", "raw_trans", "raw_emit"}
    one.load_state_dict(other.state_dict())
    batch = {"x": torch.randint(7, (4, 5)), "x_len": torch.tensor([5, 4, 1, 3])}
    assert torch.equal(one.log_prob(batch), other.log_prob(batch))  # pyright: ignore[reportCallIssue]


def test_what_a_member_calls_is_there_too() -> None:
    assert members(printed("hmm", "loss")) == ["__init__", "log_prob", "loss"]
    found = members(printed("hmm", "posterior"))
    assert {"tilted", "tilted_pairs", "unknowns", "posterior"} < {*found}  # `tilted` is called by a function alone
    assert "log_prob" not in found


def test_parameters_that_a_member_assigns_are_there_too() -> None:
    found = members(printed("gaussian_mixture", "initialise"))
    assert found[0] == "__init__"
    assert {"pi", "mu", "initialise"} & {*found} > {"initialise"}
    assert "log_prob" not in found


@pytest.mark.parametrize("name", ["vae", "ibm1"])
def test_nets_and_sizes_that_nothing_reads_are_not_there(name: str) -> None:
    whole, alone = printed(name), printed(name, "log_prob")
    nets = [node.name for node in ast.parse(alone).body if isinstance(node, ast.ClassDef)]
    assert {"vae": {"Encode", "Decode", "Vae"}, "ibm1": {"Lex", "Ibm1"}}[name] <= {*nets}
    assert "def sample" not in alone
    assert len(alone) < len(whole)
    sizes = {"vae": {}, "ibm1": {"EN": 5, "FR": 6}}[name]
    assert made(alone, **sizes).state_dict().keys() <= made(whole, **sizes).state_dict().keys()


def test_several_members() -> None:
    assert {"log_prob", "loss", "posterior"} < {*members(printed("ibm1", "loss", "posterior"))}


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.vispec")), ids=lambda path: path.stem)
def test_every_file_of_one_member_is_python(path: Path) -> None:
    text = printed(path.stem, "log_prob")
    assert members(text)[0] == "__init__"
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert "keep_pages" not in names


def test_the_size_of_a_module() -> None:
    assert printed("ibm1").count("\n") <= 535  # 0.1.0


def vispec(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_the_command() -> None:
    result = vispec("compile", str(SPECS / "hmm.vispec"), "--only", "log_prob, loss", "--set", "K=5")
    assert result.exit_code == 0
    assert members(result.stdout) == ["__init__", "log_prob", "loss"]
    assert "K: int = 5" in result.stdout


def test_a_name_of_no_member() -> None:
    result = vispec("compile", str(SPECS / "hmm.vispec"), "--only", "index")
    assert result.exit_code == 2
    assert "this model's module has no member `index`; it has `init`" in result.stderr
    with pytest.raises(UnknownMemberError, match="did you mean `log_prob`"):
        printed("hmm", "lgo_prob")


def test_nets_have_the_methods_that_are_called() -> None:
    spec = Source.read(SPECS / "language_model.vispec")
    assert "def next" not in compile_spec(spec, only=["log_prob"])
    assert "def next" in compile_spec(spec, only=["sequences"])
