"""A spec made small, compiled and loaded; and its parameters set at random."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import torch
from torch import Generator, Tensor, nn

from vispec.compile import class_of, compile_model
from vispec.model.check import check_model
from vispec.model.model import Draw, Law, Model, NetCall
from vispec.named import get, has, put
from vispec.plan.budget import Limits
from vispec.plan.gaussian.recognise import recognised
from vispec.plan.guides import complete_guides
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.syntax.tree import Number, Tree
from vispec.syntax.tree import Size as SizeOf


class Emitted(nn.Module):
    """What every emitted module offers, said for the type checker."""

    estimator: str
    log_prob: Callable[..., Tensor]
    loss: Callable[[Mapping[str, Tensor], int], Tensor]
    posterior: Callable[..., dict[str, Any]]
    shared: Callable[[], tuple[Tensor, ...]]  # only where rows share something


@dataclass(frozen=True)
class Built:
    """A checked model with numbers for all its sizes, and the module that the compiler emits for it, in float64.

    Automatic guides are among the model's: which family, and what it reads, is the compiler's choice to make. own: the
    parameters of the spec itself, not of these guides."""

    model: Model
    sizes: Mapping[str, int]
    module: Emitted
    text: str
    own: frozenset[str] = frozenset()


def build(source: Source, chosen: Mapping[str, int], **limits: Unpack[Limits]) -> Built:
    """Parse, check, compile and load with the sizes chosen and small ones for the rest; limits are those of compile_model.
    Raises SpecError."""
    tree = parse(source)
    sizes = small_sizes(tree, chosen)
    checked = check_model(tree, sizes)
    model = recognised(checked)
    text = compile_model(checked, sizes, limits.get("memory"), limits.get("work"))
    sizes = {**{size.name: size.value for size in model.sizes if size.value is not None}, **sizes}
    module = load(text, class_of(text))
    own = frozenset(param.name for param in model.params)
    return Built(guided(model, module), sizes, module, text, own)


def guided(model: Model, module: nn.Module) -> Model:
    """The model with automatic guides, but those that the module has no use for: nothing reads what they are of."""
    whole = complete_guides(model)
    unused = {net.name for net in whole.nets if not has(module, net.name)}
    return replace(
        whole,
        nets=tuple(net for net in whole.nets if net.name not in unused),
        params=tuple(param for param in whole.params if has(module, param.name)),
        guide=tuple(entry for entry in whole.guide if entry in model.guide or not _reads(entry.law, unused)),
    )


def _reads(law: Law, nets: set[str]) -> bool:
    """Whether an automatic guide calls one of these nets."""
    return isinstance(law, Draw) and any(isinstance(part, NetCall) and part.net in nets for _, part in law.args)


def small_sizes(tree: Tree, chosen: Mapping[str, int]) -> dict[str, int]:
    """2 and 3 in turn for sizes, 4 and 5 for vocabularies, so that two axes seldom agree by accident. A size that the spec
    computes from others, or that is as small already, is left to it."""
    sizes: dict[str, int] = {}
    for statement in tree.body:
        kind = type(statement).__name__
        if kind not in ("Size", "Vocab"):
            continue
        name = statement.name.id  # pyright: ignore[reportAttributeAccessIssue]
        small = (2 if kind == "Size" else 4) + (1 - len(sizes) % 2)
        if name in chosen:
            sizes[name] = chosen[name]
        elif not isinstance(statement, SizeOf) or _shrinkable(statement, small):
            sizes[name] = small
    return sizes


def _shrinkable(size: SizeOf, small: int) -> bool:
    if size.value is None:
        return True
    return isinstance(size.value, Number) and size.value.value > small


def load(text: str, name: str) -> Emitted:
    """The emitted class, made with its defaults, in float64 and evaluation mode. What is frozen has a gradient too."""
    namespace: dict[str, Any] = {"__name__": f"emitted_{name.lower()}"}
    exec(compile(text, f"<{name}>", "exec"), namespace)
    return namespace[name]().double().eval().requires_grad_()


@torch.no_grad()
def randomise(built: Built, generator: Generator, scale: float = 1.0, zeros: float = 0.0) -> None:
    """Standard normal values for every parameter, and weights of nets that keep their outputs of order 1. Then `scale` times as
    spread-out logits for each simplex and heads of nets, and, with probability `zeros`, exact zeros in each
    simplex of the spec; a guide has none, whose law may not take them."""
    for name, parameter in built.module.named_parameters():
        weight = "." in name and parameter.ndim > 1  # of a net, or of a guide that is one
        spread = parameter[0].numel() ** -0.5 if weight else 1.0
        parameter.copy_(spread * torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator))
    if scale != 1.0:
        _spread_heads(built, scale)
    for param in built.model.params:
        if param.type.domain == "simplex" and (scale != 1.0 or zeros):
            none = 0.0 if param.name not in built.own else zeros
            shape = get(built.module, param.name).shape
            logits = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
            put(built.module, param.name, _with_zeros(logits.softmax(-1), none, generator))


def _spread_heads(built: Built, scale: float) -> None:
    """The output layer of every net whose heads are all probabilities."""
    for net in built.model.nets:
        if all(type.domain in ("simplex", "unit") for _, type in net.heads):
            trunk = get(built.module, net.name)
            for layer in (getattr(trunk, name or "out", None) or trunk.out for name, _ in net.heads):
                for parameter in layer.parameters():
                    parameter.mul_(scale)


def _with_zeros(simplex: Tensor, zeros: float, generator: Generator) -> Tensor:
    """Some entries made 0 and the rest scaled to 1; at least one stays in each simplex."""
    keep = torch.rand(simplex.shape, generator=generator) >= zeros
    keep |= nn.functional.one_hot(simplex.argmax(-1), simplex.shape[-1]).bool()
    kept = simplex * keep
    return kept / kept.sum(-1, keepdim=True)
