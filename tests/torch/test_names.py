"""Names of a spec as Python's, as attributes and as variables."""

import keyword

import pytest
from torch import nn

from vispec.torch.text.names import INTERFACE, MODULE, ModuleNames, Names, identifier


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
