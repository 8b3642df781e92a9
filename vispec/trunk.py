"""What the layers of a net's trunk demand, before any of it is emitted: options, causality, shapes of the flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vispec.catalog import Network, Option, networks

if TYPE_CHECKING:
    from vispec.model.model import Net, Stage


@dataclass(frozen=True)
class TrunkProblem:
    """Something that no emitted net could do. stage None: the trunk as a whole."""

    stage: Stage | None
    message: str
    help: str | None = None


def bind(stage: Stage) -> dict[str, Any]:
    """The stage's settings by option name, defaults filled in; for a stage without problems."""
    options = networks()[stage.layer].options
    settings = {name: option.default for name, option in options.items()}
    flags = {value for value in stage.args if _names_flag(options, value)}
    settings |= {str(flag): True for flag in flags}
    settings |= dict(zip(options, (value for value in stage.args if value not in flags), strict=False))
    settings |= dict(stage.kwargs)
    return {name: _as_list(value) if name in options and options[name].kind == "sizes" else value for name, value in settings.items()}


def noncausal_stage(net: Net) -> Stage | None:
    """The first layer that reads elements ahead of its own, which no net may do that is asked for prefixes."""
    return next((stage for stage in net.trunk if not is_causal(stage)), None)


def is_causal(stage: Stage) -> bool:
    causal = networks()[stage.layer].causal
    return not bind(stage)[causal] if isinstance(causal, str) else causal


def memory_argument(net: Net) -> str | None:
    """The last sequence argument where `attend` reads it from the states of the others."""
    sequences = [name for name, type in net.args if type.star]
    return sequences[-1] if len(sequences) > 1 and any(stage.layer == "attend" for stage in net.trunk) else None


def trunk_problems(net: Net) -> tuple[TrunkProblem, ...]:
    """Everything wrong with the layers and settings of a net's trunk, in the order of the text."""
    unknown = tuple(
        TrunkProblem(stage, f"there is no layer `{stage.layer}`", f"layers are {', '.join(networks())}")
        for stage in net.trunk
        if stage.layer not in networks()
    )
    return unknown or tuple(
        [problem for stage in net.trunk for problem in _setting_problems(net, stage, networks()[stage.layer])]
    ) or tuple(_flow_problems(net))


def _setting_problems(net: Net, stage: Stage, layer: Network) -> Iterator[TrunkProblem]:
    positional = [value for value in stage.args if not _names_flag(layer.options, value)]
    if len(positional) > len(layer.options):
        yield TrunkProblem(stage, f"`{layer.name}` takes at most {len(layer.options)} settings, not {len(positional)}")
    given = dict(zip(layer.options, positional, strict=False))
    for name, value in stage.kwargs:
        if name in given:
            yield TrunkProblem(stage, f"`{name}` of `{layer.name}` is set twice")
        if name not in layer.options and not layer.open_options:
            options = ", ".join(layer.options) or "none"
            yield TrunkProblem(stage, f"`{layer.name}` has no option `{name}`", f"its options are {options}")
        given[name] = value
    for name, option in layer.options.items():
        if option.required and name not in given:
            yield TrunkProblem(stage, f"`{layer.name}` needs `{name}`", f"write {layer.name}({name}=...)")
        if name in given and not _fits(net, option, given[name]):
            yield TrunkProblem(stage, f"`{name}` of `{layer.name}` is {_demand(net, option)}, not {_show(given[name])}")


def _flow_problems(net: Net) -> Iterator[TrunkProblem]:
    """Sequences where there are none, integers past a head, embeddings of numbers."""
    sequence = any(type.star for _, type in net.args)
    image = any(not type.star and len(type.shape) > 1 for _, type in net.args)
    finite = any(type.domain in ("category", "token", "index") for _, type in net.args)
    for position, stage in enumerate(net.trunk):
        layer = networks()[stage.layer]
        embeds = bind(stage).get("embed") is not None or layer.name == "embed"
        if embeds and not finite:
            yield TrunkProblem(stage, f"`{layer.name}` embeds, but no argument is a token, category or index, or it is embedded by now")
        if layer.name == "python" and position:
            yield TrunkProblem(stage, "`python` must come first: its class takes the arguments themselves")
        if layer.sequence == "sequence" and not sequence or layer.sequence == "both" and not (sequence or image):
            what = "a sequence" if layer.sequence == "sequence" else "an image or a sequence"
            yield TrunkProblem(stage, f"`{layer.name}` needs {what}, and none is left here", "a sequence argument has a starred type")
        if layer.name == "transformer" and isinstance(width := bind(stage)["embed"], int) and width % bind(stage)["heads"]:
            yield TrunkProblem(stage, f"`embed` of `transformer`, {width}, does not divide among {bind(stage)['heads']} heads")
        finite = finite and not (embeds or layer.name in ("linear", "mlp", "python"))
        sequence = sequence and not layer.pools
        image = image and layer.name != "cnn"
    starred = any(type.star for _, type in net.heads)
    if starred and not sequence:
        yield TrunkProblem(None, f"`{net.name}` gives a sequence, but its trunk ends in one vector")
    for name, type in net.heads:
        if type.domain in ("category", "token", "index", "tree"):
            yield TrunkProblem(None, f"a net cannot give a {type.domain}", f"let `{name or net.name}` give simplex[...] instead")


def _names_flag(options: Mapping[str, Option], value: object) -> bool:
    return isinstance(value, str) and value in options and options[value].kind == "flag"


def _as_list(value: Any) -> Any:
    return value if isinstance(value, tuple) or value is None else (value,)


def _fits(net: Net, option: Option, value: Any) -> bool:
    match option.kind:
        case "count":
            return type(value) is int and value > 0
        case "size":
            return isinstance(value, str) or (type(value) is int and value > 0)
        case "sizes":
            return all(isinstance(item, str) or (type(item) is int and item > 0) for item in _as_list(value))
        case "fraction":
            return type(value) in (int, float) and 0 <= value < 1
        case "flag":
            return isinstance(value, bool)
        case "choice":
            return value in option.choices
        case "argument":
            return value in dict(net.args) and not dict(net.args)[value].star
        case "text":
            return isinstance(value, str)


def _demand(net: Net, option: Option) -> str:
    match option.kind:
        case "choice":
            return f"one of {', '.join(option.choices)}"
        case "argument":
            return f"an argument without a star ({', '.join(name for name, type in net.args if not type.star) or 'there is none'})"
        case kind:
            return {
                "count": "a positive whole number",
                "size": "a positive whole number or a size",
                "sizes": "a list of positive whole numbers",
                "fraction": "a number from 0 to below 1",
                "flag": "true or false",
                "text": "a text in quotes",
            }[kind]


def _show(value: Any) -> str:
    return f"[{', '.join(map(_show, value))}]" if isinstance(value, tuple) else str(value)
