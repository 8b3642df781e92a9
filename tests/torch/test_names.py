"""Names of a spec as Python's, as attributes and as variables."""

import builtins
import keyword

import pytest
from torch import nn

from tests.random.compare import outcome
from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.torch.text.names import INTERFACE, MODULE, ModuleNames, Names, identifier
from vispec.train.store.module import class_of_text


def test_what_a_module_holds_is_known() -> None:
    assert {name for name in dir(nn.Module) if not name.startswith("_")} <= MODULE
    assert "training" in MODULE


@pytest.mark.parametrize("name", ["class", "lambda", "None", "2x", "a b", "π", "ﬁ", "", "a'", "__init__", "loss", "self"])
def test_every_name_is_safe(name: str) -> None:
    for found in (identifier(name), Names({"self"}).fresh(name), ModuleNames().attribute("size", name)):
        assert found.isidentifier()
        assert not keyword.iskeyword(found)
    assert ModuleNames().attribute("net", name) not in MODULE | INTERFACE


def test_one_name_for_each_thing() -> None:
    names = ModuleNames()
    found = [names.attribute(kind, name) for kind in ("size", "net", "parameter") for name in ("D", "d", "D_2", "loss")]
    assert len(found) == len({*found})
    assert names.attribute("size", "D") == found[0] == "D"
    local = Names({"x"})
    assert [local.fresh("x") for _ in range(3)] == ["x_", "x_2", "x_3"]


NET = "size {size} = 3\nnet {net}(a_: category[{size}]) -> real = embed(2) |> mlp([{size}])\n"
ROWS = "plate row_:\n    latent z_ : category[{size}] ~ Uniform()\n    observed x_ : real ~ Normal({net}(z_), 1)\n"


@pytest.mark.parametrize(
    ("size", "net"),
    [
        *((size, "f_") for size in ("initialise", "index", "to", "F", "Embedding", "softplus_inverse", "nn", "super")),
        *(("K_", net) for net in ("False", "_", "_2", "__init__", "simplex", "exp", "dict")),
        ("J", "j"),
    ],
)
def test_sizes_and_nets_under_any_name(size: str, net: str) -> None:
    found = outcome((NET + ROWS).format(size=size, net=net), 1)
    assert found.status == "agree", found.detail


@pytest.mark.parametrize("name", ["property", "str", "tuple", "torch", "Tensor", "__init__"])
def test_names_that_the_class_reads(name: str) -> None:
    """Of a parameter with a property, whose name stands in the class before its methods' annotations."""
    found = outcome(
        f"param {name} : unit\nparam raw_{name} : real\nplate row_:\n    observed x_ : bit ~ Bernoulli({name})\n", 1
    )
    assert found.status == "agree", found.detail


@pytest.mark.parametrize(
    "stem", ["none", "true", "false", "tensor", "value_error", "nn", "f", "torch", "int", "key_error", "class", "9", "_"]
)
def test_every_name_of_a_file_makes_a_class(stem: str) -> None:
    text = compile_spec(Source(f"{stem}.vispec", "param a : real\nplate n:\n    observed x : real ~ Normal(a, 1)\n"))
    name = class_of(text)
    assert name.isidentifier()
    assert not keyword.iskeyword(name)
    assert not hasattr(builtins, name)
    assert name not in ("F", "Tensor", "torch", "nn")
    assert isinstance(class_of_text(text, name)(), nn.Module)


def test_a_module_hides_no_class_of_the_users() -> None:
    spec = 'net f(x: real[3]) -> real = python("{path}", features=4)\nplate n:\n    given x : real[3]\n'
    spec += "    observed y : real ~ Normal(f(x), 1)\n"
    text = compile_spec(Source("mine.vispec", spec.format(path="some.package:Mine")))
    assert "from some.package import Mine\n" in text
    assert class_of(text) == "MineModel"
    for path in ("import:class", "a..b:C", "lambda:X", "a:class", ":C", "a:", "a.b:C.D", "ä:C"):
        with pytest.raises(SpecError, match="V513"):
            compile_spec(Source("mine.vispec", spec.format(path=path)))


@pytest.mark.parametrize("name", ["_", "__x", "other", "y_mask", "__init__"])
def test_arguments_of_nets_under_any_name(name: str) -> None:
    """Two underscores in front are mangled inside a class: in that of the net as another name than in the module's."""
    net = f"net f_({name}: bit*, y_mask_: real) -> real = mean |> linear(3)\n"
    rows = "plate row_:\n    given a_ : real\n    plate m_:\n        given b_ : bit\n"
    found = outcome(net + rows + "    observed y_ : real ~ Normal(f_(b_[*], a_), 1)\n", 1)
    assert found.status == "agree", found.detail
