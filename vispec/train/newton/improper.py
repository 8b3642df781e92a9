"""Maxima that say nothing of the data: where a density grows without bound around a few points.

A component with a spread of its own, on fewer rows than its location has numbers and one more, or a spread that is next to
nothing beside that of the data, is an accident of the likelihood (Kiefer and Wolfowitz 1956; McLachlan and Peel 2000, 3.10).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from vispec.catalog import distributions
from vispec.model import model as m
from vispec.model.walk import draws, walk
from vispec.named import get, has

THIN = 1e-4  # a component's spread below so much of the data's,
VANISHED, VAST = 1e-60, 1e20  # of positive parameters, in whatever units
NONE = 1e-10  # and one that is common to all: a curve may fit well, but not so well


@dataclass(frozen=True)
class Spread:
    """The parameter `name`, positive or a Cholesky factor, that an observed variable's continuous law has for its spread;
    `latent` chooses among its elements, None where nothing does. locations: the parameters that the same latent chooses beside
    it."""

    variable: str
    name: str
    latent: str | None
    locations: tuple[str, ...]


def spreads(model: m.Model) -> tuple[Spread, ...]:
    """All of them, of laws on the reals: there a density has no bound."""
    return tuple(
        Spread(variable.name, argument.name, chooser(argument, model), chosen(law, chooser(argument, model), model))
        for variable in model.variables
        if variable.role in ("observed", "partial") and variable.law is not None
        for law in draws(variable.law)
        if distributions()[law.distribution].support == "real"
        for _, argument in law.args
        if isinstance(argument, m.Ref | m.Select)
        and argument.name in model.param
        and argument.name not in model.fixed
        and argument.type.domain in ("positive", "cholesky")
    )


def chooser(expression: m.Expression, model: m.Model) -> str | None:
    """The latent that points at the element of a parameter, if one does."""
    if not isinstance(expression, m.Select):
        return None
    names = (inner.name for _, by in expression.by for inner in walk(by) if isinstance(inner, m.Ref))
    return next((name for name in names if name in model.variable and model.variable[name].role != "given"), None)


def chosen(law: m.Draw, latent: str | None, model: m.Model) -> tuple[str, ...]:
    """The real parameters among a law's arguments that the latent chooses."""
    found = (e for _, argument in law.args for e in walk(argument) if isinstance(e, m.Select) and e.name in model.param)
    return tuple(e.name for e in found if e.type.domain == "real" and latent is not None and chooser(e, model) == latent)


def improper(model: m.Model | None, module: nn.Module, batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What is wrong with a maximum at the module's parameters, in words; nothing where it is a proper one."""
    found = list(thin_spreads(model, module, batch))
    marginals: dict[str, Tensor] | None = None
    for spread in spreads(model) if model is not None else ():
        assert model is not None
        if spread.latent is not None and spread.locations and spread.variable in batch:
            marginals = posterior(module, batch) if marginals is None else marginals
            found += small(spread, marginals.get(spread.latent), module, model, batch)
    return tuple(dict.fromkeys(found))


def thin_spreads(model: m.Model | None, module: nn.Module, batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The spreads among the parameters that are next to nothing, and positive numbers beyond all measure, in words: what can be
    told before a maximum is reached."""
    found = list(beyond(model, module)) if model is not None else []
    for spread in spreads(model) if model is not None else ():
        assert model is not None
        if has(module, spread.name) and spread.variable in batch:
            found += thin(spread, get(module, spread.name).detach(), batch, model)
    return tuple(dict.fromkeys(found))


def beyond(model: m.Model, module: nn.Module) -> Iterator[str]:
    """Positive parameters that have gone where no estimate is: towards a bound, a climb ends long before."""
    for param in (param for param in model.params if param.name not in model.fixed):
        value = get(module, param.name).detach() if param.type.domain == "positive" and has(module, param.name) else None
        if value is not None and value.numel():
            if float(value.min()) < VANISHED:
                yield f"`{param.name}` goes to 0 without an end"
            if float(value.max()) > VAST:
                yield f"`{param.name}` grows without an end"


def thin(spread: Spread, value: Tensor, batch: Mapping[str, Tensor], model: m.Model) -> list[str]:
    """Spreads next to nothing beside the variable's own."""
    width = len(model.variable[spread.variable].type.shape)
    data = batch[spread.variable]
    seen = batch.get(f"{spread.variable}_observed")
    flat = data[seen] if seen is not None else data.reshape(-1, *data.shape[data.dim() - width :])
    if not len(flat):
        return []
    whole = flat.to(value.dtype).std(0, correction=0)  # (*event)
    if not bool((whole > 0).any()):
        return []
    if model.param[spread.name].type.domain == "cholesky":
        sizes = torch.linalg.svdvals(value / whole[:, None]).amin(-1)
    else:
        sizes = value / whole if value.shape[value.dim() - width :] == whole.shape else value / whole.max()
    least = float(sizes.min())
    few = least < (NONE if spread.latent is None else THIN)
    return [f"`{spread.name}` is {least:.1e} of the spread of `{spread.variable}`"] if few else []


def small(
    spread: Spread, marginals: Tensor | None, module: nn.Module, model: m.Model, batch: Mapping[str, Tensor]
) -> list[str]:
    """Values of the latent that hold fewer rows than a location and a spread need."""
    if marginals is None:
        return []
    shape = model.variable[spread.variable].type.shape
    event = prod(get(module, spread.locations[0]).shape[-len(shape) :]) if shape else 1
    per_number = event if model.param[spread.name].type.domain == "cholesky" else 1
    least = per_number * len(set(spread.locations)) + 1
    inside = within(marginals, spread, model, batch)
    if model.weight is not None:
        inside = inside * batch[model.weight].to(inside).view(-1, *[1] * (inside.dim() - 1))
    counts = inside.flatten(0, -2).sum(0)  # (K,)
    few = [k for k, count in enumerate(counts.tolist()) if count < least - 1e-6]
    return [f"`{spread.latent}` = {k} holds {float(counts[k]):.1f} of at least {least} rows" for k in few]


def within(marginals: Tensor, spread: Spread, model: m.Model, batch: Mapping[str, Tensor]) -> Tensor:
    """The marginals (rows, *plates, K), 0 at elements that a row does not have."""
    for place, name in enumerate(model.variable[str(spread.latent)].plates):
        plate = model.plate[name]
        if plate.ragged and plate.length_key in batch and place == 1:
            inside = torch.arange(marginals.shape[1]) < batch[plate.length_key][:, None].cpu()
            marginals = marginals * inside.view(*inside.shape, *[1] * (marginals.dim() - 2)).to(marginals)
    return marginals


def posterior(module: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The marginals of the summed latents; nothing where the module answers no such query."""
    return module.posterior(dict(batch)) if hasattr(module, "posterior") else {}  # pyright: ignore[reportCallIssue]
