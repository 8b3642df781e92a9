"""What one file adds: distributions, network layers, functions, steps, estimators, commands; and how they are found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, Literal


@dataclass(frozen=True)
class Distribution:
    """A distribution as the language knows it.

    params: name → domain it must lie in ("real", "positive", "unit", "simplex", "cholesky", "count", "ordered").
    optional: params that may be left out, all or none.
    support: the domain of its values; "index" stands for any finite scalar (category, token, index).
    other_supports: further domains it is a law on; where it has optional params, with these left out.
    event_dim: rank of one draw; params and values of higher rank are independent along the extra dimensions and summed.
    param_event_dim: rank of each param where it is not event_dim (Categorical's probs has 1).
    forms: the form in which the emitted kernel takes a param: "value" (default), "logit" (log-odds of a unit), "log"
           (normalised log-probabilities of a simplex).
    kernel: name of the function in the entry's module, `log_prob(value, *params)`, copied into the emitted module by
           inspect.getsource; elementwise over leading axes, returns log-density with its event dimensions reduced to event_dim
           = 0 (extra dimensions are summed by the emitter). Params are tensors, () at least. None:
           torch_class(**params).log_prob(value) is emitted.
    torch_class: its name in torch.distributions, used to sample (and for log_prob without a kernel).
    sampler: `sampler(*params)` where there is no torch_class to sample from, copied like the kernel.
    shape_params: keyword of torch_class → the event dimension of the value whose size it is (LKJCholesky's dim: -1).
    size_delta: param → how much longer its last dimension is than that of the value (LogisticNormal's loc: -1).
    examples: params for the law tests.
    """

    name: str
    params: Mapping[str, str]
    support: str
    optional: tuple[str, ...] = ()
    other_supports: tuple[str, ...] = ()
    event_dim: int = 0
    param_event_dim: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, Literal["value", "logit", "log"]] = field(default_factory=dict)
    has_rsample: bool = False
    torch_class: str | None = None
    kernel: Callable[..., Any] | None = None
    sampler: Callable[..., Any] | None = None
    shape_params: Mapping[str, int] = field(default_factory=dict)
    size_delta: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Option:
    """A literal setting of a layer.

    kind: "count" a positive whole number; "size" that or a size's name; "sizes" a list of sizes, or one; "fraction" in [0, 1);
    "flag" a boolean, also set by its bare name; "choice" one of `choices`; "argument" a name of one of the net's arguments;
    "text".
    """

    kind: Literal["count", "size", "sizes", "fraction", "flag", "choice", "argument", "text"]
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A layer of a trunk as the language knows it.

    options: in the order in which settings without a name fill them.
    open_options: it takes further keywords as they come (python).
    sequence: it works along the time axis ("sequence"), on each element by itself ("element"), on images or sequences ("both").
    pools: it turns a sequence into one vector.
    ordered: its result depends on the order of a sequence's elements.
    causal: False if it reads elements ahead even where the net is asked for prefixes; the name of an option if it does so
            where that option is set; True otherwise.
    embeds: it needs an argument that still is integers. memory: of several sequence arguments it looks things up in the last.
    problem: `problem(position, **options)` says what is wrong with its settings at that place in a trunk, or None.
    emit: `emit(stream, **options)` replaces the parts of an emit.net_stream.Stream by its own output.
    """

    name: str
    emit: Callable[..., None]
    options: Mapping[str, Option] = field(default_factory=dict)
    open_options: bool = False
    sequence: Literal["element", "sequence", "both"] = "element"
    pools: bool = False
    ordered: bool = False
    causal: bool | str = True
    embeds: bool = False
    memory: bool = False
    problem: Callable[..., str | None] | None = None


@dataclass(frozen=True)
class Command:
    """A command of the CLI: a click command under its own name."""

    name: str
    command: Any


def discover(package: ModuleType) -> dict[str, Any]:
    """The ENTRY of each module of `package` and of the folders in it, by name, in the order of the file names."""
    entries: dict[str, Any] = {}
    found = (m.name for m in walk_packages(package.__path__, f"{package.__name__}.") if not m.ispkg)
    for module in sorted(found):
        entry = import_module(module).ENTRY
        if entry.name in entries:
            raise ImportError(f"two entries named {entry.name!r} in {package.__name__}")
        entries[entry.name] = entry
    return entries


@cache
def distributions() -> Mapping[str, Distribution]:
    """All distributions, by name."""
    import vispec.distributions

    return discover(vispec.distributions)


@cache
def networks() -> Mapping[str, Network]:
    """All layers of trunks, by name."""
    import vispec.networks

    return discover(vispec.networks)
