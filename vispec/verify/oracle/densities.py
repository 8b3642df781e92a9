"""Log-densities of the language's laws, from torch.distributions or from their definition; never from our kernels."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch import distributions as dist

from vispec.catalog import distributions
from vispec.model import model as m
from vispec.model.model import Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle import labels, parses, stretches, trees
from vispec.verify.oracle.expressions import Scene, evaluate, holds, own, raw_head
from vispec.verify.oracle.masses import whole_integral
from vispec.verify.oracle.row import Place, measure

TRIALS = ("Binomial", "NegativeBinomial", "Geometric")


def log_density(variable: Variable, law: m.Law, at: Place, scene: Scene) -> Tensor:
    """log law(value) of one cell, a scalar, its event dimensions summed."""
    draw = chosen(variable, law, at, scene)
    value = own(variable, at, scene)
    if variable.type.whole_of is not None:
        length = length_from(variable, at, scene)
        if not length:
            return torch.zeros((), dtype=torch.float64)
        variable, value = replace(variable, type=replace(variable.type, shape=(), whole_of=None)), value[length - 1]
    if draw.distribution == "HeadOutward":
        return trees.outward(draw, tuple(value.tolist()), *both_ways(draw.args[0][1], at, scene))
    if variable.type.domain == "tree":
        return trees.log_density(draw, value, {name: evaluate(expression, at, scene) for name, expression in draw.args})
    if variable.type.domain == "parse":
        params = {name: evaluate(expression, at, scene) for name, expression in draw.args}
        return parses.span_density(value, params) if draw.distribution == "SpanTree" else parses.log_density(value, params)
    if variable.type.domain == "segments":
        params = {name: evaluate(expression, at, scene) for name, expression in draw.args}
        longest = measure(variable.type.longest or 1, scene.row.sizes)
        return stretches.log_density(value, params, longest, ("cut", True) in draw.options)
    if variable.type.along is not None:
        return labels.log_density(draw, variable, at, scene)
    if draw.distribution == "Categorical":
        return categorical(draw, value, at, scene)
    if draw.distribution == "Bernoulli":
        return bernoulli(draw, value, at, scene)
    if draw.distribution == "Uniform" and variable.type.domain in FINITE_DOMAINS:
        return -torch.tensor(float(scene.row.card(variable.type, at)), dtype=torch.float64).log() * max(1, value.numel())
    outer, own_law, bounds = m.taken_apart(draw)
    if outer:
        ends = {word: evaluate(part, at, scene).double() for word, part in bounds}
        return modified(outer, own_law, ends, value.double(), at, scene).sum()
    return elementwise(draw, value, at, scene).sum()


def length_from(variable: Variable, at: Place, scene: Scene) -> int:
    """How long the stretch is that begins here, of which a variable says what it is as a whole; 0 where none does."""
    latent = scene.model.variable[(variable.type.whole_of or ("", ""))[0]]
    plate = str(latent.type.plate)
    way = own(latent, {each: place for each, place in at.items() if each != plate}, scene)
    begins = way[len(way) // 2 + at[plate] :]
    return begins[1:].tolist().index(1) + 1 if begins[0] and 1 in begins[1:].tolist() else len(begins) * int(begins[0])


def elementwise(draw: m.Draw, value: Tensor, at: Place, scene: Scene) -> Tensor:
    """log-density of each number of a value, or of each vector of a law on these."""
    if draw.distribution == "Flat":
        return torch.zeros_like(value, dtype=torch.float64)
    if draw.distribution == "Zero":
        return torch.where(value == 0, 0.0, -torch.inf).double()
    args = {name: evaluate(part, at, scene).double() for name, part in draw.args}
    if draw.distribution == "TruncatedNormal":
        return truncated_normal(value, *args.values())
    if draw.distribution == "HardKumaraswamy":
        return hard_kumaraswamy(value, *args.values())
    if draw.distribution in CARRIED:
        return carried(value.double(), CARRIED[draw.distribution](args), args)
    if draw.distribution == "Multinomial":
        return multinomial(value, **args)
    if draw.distribution in TRIALS:
        return trials(draw, value, args)
    if draw.distribution == "Bernoulli":
        p = args["probs"].expand(value.shape)
        return torch.where(value == 1, p, torch.where(value == 0, 1 - p, 0.0)).log()
    family = torch_family(draw, at, scene, tuple(value.shape))
    if family.support is None:
        raise NotCheckedError(f"the support of {draw.distribution}")
    inside = torch.as_tensor(family.support.check(value))
    found = family.log_prob(value)
    inside = inside if inside.shape == found.shape else inside.all()
    return torch.where(inside, found, -torch.inf)


def modified(outer: str, draw: m.Draw, ends: Mapping[str, Tensor], value: Tensor, at: Place, scene: Scene) -> Tensor:
    """A law of a law by its definition, its masses from sums and integrals of the density of the law inside; elementwise."""
    low, high = (ends[word].expand(value.shape) if word in ends else None for word in ("low", "high"))
    empty = torch.zeros_like(value, dtype=torch.bool)
    if low is not None and high is not None:  # bounds with nothing between them
        empty = low > high if outer == "Truncated" else low >= high
        high = torch.where(empty, low + 1, high)

    def mass(least: Tensor | None, most: Tensor | None) -> Tensor:
        """log P(least ≤ X ≤ most)."""
        return log_mass(draw, least, most, value.shape, at, scene)

    if outer == "Truncated":
        inside = torch.ones_like(value, dtype=torch.bool) if low is None else value >= low
        inside = inside if high is None else inside & (value <= high)
        safe = value if low is None else torch.maximum(value, low)
        safe = safe if high is None else torch.minimum(safe, high)
        found, whole = elementwise(draw, safe, at, scene), mass(low, high)
        possible = inside & ~empty & (whole > -torch.inf)
        return torch.where(possible, found - torch.where(possible, whole, 0.0), -torch.inf)
    found = elementwise(draw, value, at, scene)
    found = found if low is None else torch.where(value <= low, mass(None, low), found)
    found = found if high is None else torch.where(value >= high, mass(high, None), found)
    return torch.where(empty, -torch.inf, found)


def log_mass(draw: m.Draw, least: Tensor | None, most: Tensor | None, shape: torch.Size, at: Place, scene: Scene) -> Tensor:
    """log P(least ≤ X ≤ most) of a law on numbers, from its density or probabilities; (*shape)."""
    entry = distributions()[draw.distribution]

    def density(x: Tensor) -> Tensor:
        return elementwise(draw, x, at, scene).exp()

    if entry.support in ("count", "bit"):
        last = 1 if entry.support == "bit" else 400
        k = torch.arange(last + 1.0, dtype=torch.float64).view(-1, *[1] * len(shape)).expand(-1, *shape)
        counts = torch.ones_like(k, dtype=torch.bool) if least is None else k >= least
        counts = counts if most is None else counts & (k <= most)
        return log_of(torch.where(counts, density(k), 0.0).sum(0))
    args = {name: evaluate(part, at, scene).double().expand(shape) for name, part in draw.args}
    own = [args[end] if end else None for end in entry.bounds]
    own[0] = torch.zeros(shape, dtype=torch.float64) if own[0] is None and entry.support in ("positive", "unit") else own[0]
    own[1] = torch.ones(shape, dtype=torch.float64) if own[1] is None and entry.support == "unit" else own[1]
    low, high = (
        inner if outer is None else outer if inner is None else choose(inner, outer)
        for inner, outer, choose in zip(own, (least, most), (torch.maximum, torch.minimum), strict=True)
    )
    if entry.support == "unit" and most is None and least is not None:  # numbers near 1 are too coarse for an end there
        return log_of(1 - log_mass(draw, None, least, shape, at, scene).exp())
    middle = args.get("loc", torch.zeros(shape, dtype=torch.float64))  # where a density may have a kink
    return log_of(whole_integral(density, low, high, middle))


def log_of(mass: Tensor) -> Tensor:
    """log of a mass, without a gradient where that is 0."""
    return torch.where(mass > 0, torch.where(mass > 0, mass, 1.0).log(), -torch.inf)


CARRIED: Mapping[str, Callable[[Mapping[str, Tensor]], list[dist.Transform]]] = {
    "LogitNormal": lambda a: [dist.SigmoidTransform(), dist.AffineTransform(a["low"], a["high"] - a["low"])],
    "ShiftedLogNormal": lambda a: [dist.ExpTransform(), dist.AffineTransform(a["low"], 1)],
}


def carried(value: Tensor, maps: list[dist.Transform], args: Mapping[str, Tensor]) -> Tensor:
    """The density of a Normal carried by some maps, 0 outside the ends."""
    inside = (value > args["low"]) & (value < args.get("high", torch.tensor(torch.inf)))
    between = (args["low"] + args.get("high", args["low"] + 2)) / 2
    safe = torch.where(inside, value, between)
    base = dist.Normal(args["loc"], args["scale"])
    found = dist.TransformedDistribution(base, maps, validate_args=False).log_prob(safe)
    return torch.where(inside, found, -torch.inf)


def trials(draw: m.Draw, value: Tensor, args: Mapping[str, Tensor]) -> Tensor:
    """log of (a number of arrangements) p^a (1 - p)^b, exact where p is 0 or 1 (torch's own clamps it)."""
    p, n = args["probs"].expand(value.shape), args.get("total_count", torch.ones(())).expand(value.shape)
    x = value.double().clamp(min=0)
    if draw.distribution == "Binomial":
        x = torch.minimum(x, n)
        hits, misses, arrangements = x, n - x, log_gamma(n + 1, x + 1, n - x + 1)
    elif draw.distribution == "NegativeBinomial":
        hits, misses, arrangements = x, n, log_gamma(n + x, n, x + 1)
    else:
        hits, misses, arrangements = torch.ones_like(x), x, torch.zeros_like(x)
    found = arrangements + times_log(hits, p) + times_log(misses, 1 - p)
    return torch.where(x == value, found, -torch.inf)


def multinomial(value: Tensor, total_count: Tensor, probs: Tensor) -> Tensor:
    """log of (a number of arrangements) Π p^x."""
    x = value.double().clamp(min=0)
    found = torch.lgamma(total_count + 1) + (times_log(x, probs) - torch.lgamma(x + 1)).sum(-1)
    return torch.where((x == value).all(-1) & (x.sum(-1) == total_count), found, -torch.inf)


def log_gamma(above: Tensor, *below: Tensor) -> Tensor:
    """The logarithm of a quotient of gamma functions."""
    return torch.lgamma(above) - sum(torch.lgamma(each) for each in below)


def times_log(count: Tensor, p: Tensor) -> Tensor:
    """count · log p, 0 where the count is, with no gradient from log 0 then."""
    none = count == 0
    return torch.where(none, 0.0, count * torch.where(none, 1.0, p).log())


def hard_kumaraswamy(value: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """From the distribution function of a Kumaraswamy on (-0.1, 1.1), and its derivative between the ends."""

    def below(t: Tensor) -> Tensor:
        return 1 - (1 - ((t + 0.1) / 1.2) ** a) ** b

    k = (value + 0.1) / 1.2
    density = a * b * k ** (a - 1) * (1 - k**a) ** (b - 1) / 1.2
    zero, one = torch.zeros_like(value), torch.ones_like(value)
    return torch.where(value == 0, below(zero), torch.where(value == 1, 1 - below(one), density)).log()


def truncated_normal(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """A Normal given that it is not below 0."""
    whole = dist.Normal(loc, scale)
    mass = 1 - whole.cdf(torch.zeros_like(value))
    return torch.where(value < 0, -torch.inf, whole.log_prob(value) - mass.log())


def chosen(variable: Variable, law: m.Law, at: Place, scene: Scene) -> m.Draw:
    """The one draw that applies here, after conditions and the chain's `then`."""
    if isinstance(law, m.Draw):
        return law
    if isinstance(law, m.Flow):
        raise NotCheckedError(f"the density of `{variable.name}` under its guide, which is a flow")
    if isinstance(law, m.Choice):
        return chosen(variable, law.then if holds(law.test, at, scene) else law.otherwise, at, scene)
    chains = [plate for plate in variable.plates if scene.model.plate[plate].kind == "chain"]
    position = at[chains[-1]]
    return chosen(variable, law.laws[min(position, len(law.laws) - 1)], at, scene)


def argument(draw: m.Draw) -> m.Expression:
    """The parameter of a law that has one."""
    ((_, expression),) = draw.args
    return expression


def categorical(draw: m.Draw, value: Tensor, at: Place, scene: Scene) -> Tensor:
    """log p[value] summed over the event; an exact -inf where p is 0 (torch's own clamps)."""
    expression = argument(draw)
    logits = logits_of(expression, at, scene)
    if logits is not None:
        return _entries(logits.log_softmax(-1), value).sum()
    return _entries(evaluate(expression, at, scene), value).log().sum()  # log after the choice: log 0 has no gradient to give


def _entries(table: Tensor, value: Tensor) -> Tensor:
    """table[..., value], one row of the table for all of an event where it has no more."""
    if table.ndim == 1:
        table = table.expand(*value.shape, -1)
    return table.gather(-1, value.unsqueeze(-1)).squeeze(-1)


def logits_of(expression: m.Expression, at: Place, scene: Scene) -> Tensor | None:
    """The logits of a simplex that comes from some, so that nothing is lost where its probabilities underflow."""
    match expression:
        case m.NetCall():
            return raw_head(expression, at, scene)
        case m.Apply(function="softmax", args=(logits,)):
            return evaluate(logits, at, scene).double()
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return logits_of(then if holds(test, at, scene) else otherwise, at, scene)
    return None


def bernoulli(draw: m.Draw, value: Tensor, at: Place, scene: Scene) -> Tensor:
    """log of p where the value is 1 and of 1 - p where it is 0, summed over the event."""
    expression = argument(draw)
    if isinstance(expression, m.NetCall):
        odds = raw_head(expression, at, scene).expand(value.shape)
    elif isinstance(expression, m.Apply) and expression.function == "sigmoid":
        odds = evaluate(expression.args[0], at, scene).double().expand(value.shape)
    else:
        p = evaluate(expression, at, scene).double().expand(value.shape)
        return torch.where(value == 1, p, 1 - p).log().sum()
    return -torch.logaddexp(torch.zeros_like(odds), torch.where(value == 1, -odds, odds)).sum()


def both_ways(e: m.Expression, at: Place, scene: Scene) -> tuple[Tensor, Tensor]:
    """log p and log (1 - p) of probabilities, or of a sequence of them; what a net gives for each element by its log-odds."""
    let = scene.model.let.get(e.name) if isinstance(e, m.All) else None
    if isinstance(e, m.All) and let is not None and isinstance(let.value, m.NetCall):
        places = [{**at, e.plate: index} for index in range(scene.row.count(e.plate, at))]
        odds = torch.stack([raw_head(let.value, place, scene) for place in places]) if places else torch.zeros(0, 2, 2)
        return -torch.logaddexp(torch.zeros_like(odds), -odds), -torch.logaddexp(torch.zeros_like(odds), odds)
    p = evaluate(e, at, scene).double()
    return p.log(), (1 - p).log()


@cache
def parameters_of(family: type) -> frozenset[str]:
    """Names of the arguments of a family's constructor."""
    return frozenset(inspect.signature(family).parameters)


def torch_family(draw: m.Draw, at: Place, scene: Scene, event: tuple[int, ...] = ()) -> dist.Distribution:
    """The law as torch has it; its own parameter names must be the catalog's. A vector of parameters may be one number for all
    of the event."""
    entry = distributions()[draw.distribution]
    if entry.torch_class is None:
        raise NotCheckedError(f"distribution {draw.distribution}")
    family = getattr(dist, entry.torch_class)
    values: Mapping[str, Tensor] = {name: evaluate(expression, at, scene).double() for name, expression in draw.args}
    vectors = {name for name in values if entry.param_event_dim.get(name, entry.event_dim) == 1}
    values = {name: v.expand(event[-1:]) if name in vectors and not v.ndim else v for name, v in values.items()}
    if not set(values) <= parameters_of(family):
        raise NotCheckedError(f"distribution {draw.distribution} with parameters {', '.join(values)}")
    try:
        return family(**values, validate_args=False)
    except TypeError as error:
        raise NotCheckedError(f"distribution {draw.distribution}: {error}") from error
