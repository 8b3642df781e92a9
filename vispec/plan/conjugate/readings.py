"""Log-densities as expressions in the statistics of the latents that are integrated by pairs, or the reason why one is none.

A statistic of a latent stands as noise without a law, "p log", over the latent's own axes; "p base" is a statistic that is
always 1, so that what is free of the latent is added up in float64 beside the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vispec.catalog import distributions
from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw
from vispec.plan.conjugate.families import Family, exactly
from vispec.plan.conjugate.pairs import PRIORS, PROBABILITY, RATE_OR_SCALE, Told, multinomial
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Concat, Const, Density, Map, Node, Noise, Part, Pick, Rename, Shift, Site, Spread
from vispec.program.walk import nodes, reads, rebuild, substitute

SURELY = "vispec.kernels.casts:surely_positive"


class NotConjugateError(Exception):
    """Of which latents, and why they are left to their guides."""

    def __init__(self, names: Iterable[str], why: str):
        self.names, self.why = frozenset(names), why
        super().__init__(why)


@dataclass(frozen=True)
class Latent:
    """axes: its plates, then those of its event, of which `events` are one draw's."""

    site: Site
    family: Family
    axes: tuple[Axis, ...]
    events: tuple[Axis, ...]

    @property
    def name(self) -> str:
        return self.site.name

    def leaf(self, statistic: str) -> Noise:
        axes = self.axes[: len(self.axes) - len(self.events)] if statistic == "base" else self.axes
        return Noise(f"{self.name} {statistic}", "", axes)

    def leaves(self) -> dict[str, tuple[Axis, ...]]:
        return {leaf.site: leaf.order for leaf in map(self.leaf, (*self.family.statistics, "base"))}


def family_of(law: Law, name: str) -> Family:
    """That of a latent's law, of which all cases are of one. Raises NotConjugateError."""
    match law:
        case DrawLaw(distribution) if distribution in PRIORS:
            return PRIORS[distribution].family
        case ChoiceLaw() | ThenLaw():
            cases = (law.then, law.otherwise) if isinstance(law, ChoiceLaw) else law.laws
            families = {each.name: each for each in (family_of(case, name) for case in cases)}
            if len(families) > 1:
                raise NotConjugateError({name}, f"its law is {' or '.join(families)}")
            return next(iter(families.values()))
    raise NotConjugateError({name}, "its law is no prior of a conjugate pair")


class Readings:
    """Raises NotConjugateError with what stands in the way."""

    def __init__(self, latents: Mapping[str, Latent]):
        self.latents = latents

    def below(self, *found: Node) -> frozenset[str]:
        """The latents that nodes read."""
        return frozenset(each.name for node in found for each in reads(node, Site) if each.name in self.latents)

    def of(self, node: Node) -> Node:
        """A log-density in statistics."""
        densities = {each: self.density(each) for each in reads(node, Density) if self.below(each)}
        (node,) = rebuild(substitute([node], densities), logarithm)
        (node,) = substitute([node], {each: found for each in nodes([node]) if (found := self.statistic(each)) is not None})
        if names := self.below(node):
            raise NotConjugateError(names, "what reads it is no law of a pair")
        return node

    # ---- what reads a latent

    def reading(self, node: Node) -> Latent | None:
        """The latent that a node is, at whichever element of it; None where it is something else."""
        match node:
            case Site(name):
                return self.latents.get(name)
            case Map("wide" | "real" | "narrow", (arg,)):
                return self.reading(arg)
            case Pick(arg, at) if not self.below(*(index for _, index in at)):
                return self.reading(arg)
            case Rename(arg) | Spread(arg):
                return self.reading(arg)
            case Shift(arg, _, _, fill) if not self.below(fill):
                return self.reading(arg)
        return None

    def at(self, node: Node, latent: Latent, statistic: str) -> Node:
        """A statistic of the element that a reading is of. A base has no entries of a vector to choose from."""
        match node:
            case Pick(arg, at):
                inner = self.at(arg, latent, statistic)
                return build.pick(inner, {axis: index for axis, index in at if axis in inner.axes})
            case Rename(arg, pairs):
                inner = self.at(arg, latent, statistic)
                return build.rename(inner, {old: new for old, new in pairs if old in inner.axes})
            case Shift(arg, axis, lag, _):
                return build.shift(self.at(arg, latent, statistic), axis, lag, 0.0)
            case Spread(arg) | Map(_, (arg,)):
                return self.at(arg, latent, statistic)
        return latent.leaf(statistic)

    def statistic(self, node: Node) -> Node | None:
        """A logarithm of a latent, or of one minus it."""
        match node:
            case Map("log", (arg,)) if (latent := self.reading(arg)) is not None and latent.family.power == 1:
                return self.at(arg, latent, "log")
            case Map("log1p", (Map("neg", (arg,)),)) if (latent := self.reading(arg)) is not None:
                return self.at(arg, latent, "log_rest") if "log_rest" in latent.family.statistics else None
        return None

    # ---- densities

    def density(self, node: Density) -> Node:
        if (latent := self.reading(node.value)) is not None:
            return self.prior(node, latent)
        if names := self.below(node.value):
            raise NotConjugateError(names, f"{node.law} is of more than it alone")
        if node.law == "Multinomial":
            return self.counts(node)
        if node.law in PROBABILITY:
            return self.probability(node)
        if node.law in RATE_OR_SCALE:
            return self.rate_or_scale(node)
        names = self.below(node)
        raise NotConjugateError(names, f"{node.law} of {listed(names)} is in no conjugate pair")

    def prior(self, node: Density, latent: Latent) -> Node:
        self.alone(node, [param for _, param, _ in node.params])
        params = {
            name: exactly(build.rename(param, {own[-1]: node.events[-1]}) if own else param) for name, param, own in node.params
        }
        told = PRIORS[node.law].tell(params, node.events)
        return self.added(told, node.value, latent, node.events)

    def probability(self, node: Density) -> Node:
        """Of a probability, in the form of its logarithm and that of one minus it."""
        slot = PROBABILITY[node.law].slot
        log_p, log_rest = (param for name, param, _ in node.params if name == slot)
        others = {name: exactly(param) for name, param, _ in node.params if name != slot}
        self.alone(node, others.values())
        told = PROBABILITY[node.law].tell(exactly(node.value), others)
        found, latent = self.inside(log_p, node)
        terms = (build.mul(told.numbers["log_p"], log_p), build.mul(told.numbers["log_rest"], log_rest))
        return build.add(*terms, build.mul(told.base, self.at(found, latent, "base")))

    def counts(self, node: Density) -> Node:
        """Of a vector of probabilities, in the form of its logarithms."""
        ((_, tries, _), (_, log_probs, own)), (event,) = node.params, node.events
        self.alone(node, [tries])
        log_probs = build.rename(log_probs, {own[-1]: event})
        told, tries = multinomial(exactly(node.value), {}), exactly(tries)
        whole = build.eq(build.reduce("sum", told.numbers["log_p"], (event,)), tries)
        arrangements = build.add(build.reduce("sum", told.base, (event,)), build.apply("lgamma", build.add(tries, 1.0)))
        base = build.where(whole, arrangements, -float("inf"))
        found, latent = self.inside(log_probs, node)
        logs = build.reduce("sum", build.mul(told.numbers["log_p"], log_probs), (event,))
        return build.add(logs, build.mul(base, self.at(found, latent, "base")))

    def rate_or_scale(self, node: Density) -> Node:
        reader = RATE_OR_SCALE[node.law]
        params = {name: param for name, param, _ in node.params}
        slot = params.pop(reader.slot)
        self.alone(node, params.values())
        c, found, latent, power = self.multiple(slot, node)
        if power != reader.power * latent.family.power:
            raise NotConjugateError(
                {latent.name}, f"{latent.family.name} is not conjugate to {node.law} with {reader.slot} {shown(latent, power)}"
            )
        others = {name: exactly(param) for name, param in params.items()}
        told = reader.tell(exactly(node.value), {**others, "c": exactly(c)})
        return self.added(told, found, latent, ())

    def added(self, told: Told, reading: Node, latent: Latent, events: tuple[Axis, ...]) -> Node:
        """The numbers times their statistics, along an event's axes summed."""
        terms = [build.mul(number, self.at(reading, latent, name)) for name, number in told.numbers.items()]
        if events:
            terms = [build.reduce("sum", build.spread(each, events), events) for each in terms]
        return build.add(*terms, build.mul(told.base, self.at(reading, latent, "base")))

    def alone(self, node: Density, others: Iterable[Node]) -> None:
        """Raise where what should be free of the latents is not."""
        if names := self.below(*others):
            raise NotConjugateError(names, f"a parameter of {node.law} reads it, which is in no conjugate pair")

    def inside(self, log: Node, node: Density) -> tuple[Node, Latent]:
        """The reading that a logarithm is of."""
        match log:
            case Map("log", (arg,)) | Map("log1p", (Map("neg", (arg,)),)) if (latent := self.reading(arg)) is not None:
                return arg, latent
            case Map("wide" | "real", (arg,)) | Rename(arg) | Spread(arg) | Pick(arg):
                found, latent = self.inside(arg, node)
                return replaced(log, arg, found), latent
        names = self.below(node)
        raise NotConjugateError(names, f"the probability of {node.law} is not {listed(names)} itself")

    def multiple(self, node: Node, of: Density | DrawLaw) -> tuple[Node, Node, Latent, float]:
        """A number times a power of a latent: that number, the reading, its latent, and the power."""
        if (latent := self.reading(node)) is not None:
            return build.node(1.0), node, latent, 1.0
        match node:
            case Map("wide" | "real", (arg,)):
                return self.multiple(arg, of)
            case Map("mul", operands) if len(inner := [each for each in operands if self.below(each)]) == 1:
                c, *rest = self.multiple(inner[0], of)
                return build.mul(c, *(each for each in operands if each is not inner[0])), *rest  # type: ignore[return-value]
            case Map("div", (above, under)) if not (self.below(above) and self.below(under)):
                if self.below(above):
                    c, *rest = self.multiple(above, of)
                    return build.apply("div", c, under), *rest  # type: ignore[return-value]
                c, found, latent, power = self.multiple(under, of)
                return build.apply("div", above, c), found, latent, -power
            case Part(Call("kernel", name, ((arg, own, word),), results, settings), 0) if name == SURELY:
                whole = arg if (padded := padding(arg)) is None else padded[1]
                c, *rest = self.multiple(whole, of)  # it is positive if what the latent is multiplied by is so
                c = c if padded is None else build.where(padded[0], c, padded[2])
                return Part(Call("kernel", name, ((c, own, word),), results, settings), 0), *rest  # type: ignore[return-value]
            case Map("sqrt", (arg,)):
                c, found, latent, power = self.multiple(arg, of)
                return build.apply("sqrt", c), found, latent, power / 2
            case Map("square", (arg,)):
                c, found, latent, power = self.multiple(arg, of)
                return build.apply("square", c), found, latent, power * 2
            case Map("pow", (arg, by)) if (by := constant(by)) is not None:
                c, found, latent, power = self.multiple(arg, of)
                return build.apply("pow", c, by), found, latent, power * by
        names, law = self.below(node), of.law if isinstance(of, Density) else of.distribution
        raise NotConjugateError(names, f"the {RATE_OR_SCALE[law].slot} of {law} is no multiple of a power of {listed(names)}")


def logarithm(node: Node) -> Node | None:
    """The logarithms of parts in the place of that of all."""
    match node:
        case Map("log", (Concat(parts, axis),)):
            return build.concat([(build.log(part), own) for part, own in parts], axis)
    return None


def padding(node: Node) -> tuple[Node, Node, Node] | None:
    """A test, a value, and the number that stands for it in padding."""
    match node:
        case Map("where", (test, value, Const() as other)):
            return test, value, other
    return None


def replaced(node: Node, old: Node, new: Node) -> Node:
    return substitute([node], {old: new})[0]


def constant(node: Node) -> float | None:
    value = getattr(node, "value", None)
    return float(value) if isinstance(value, int | float) else None


def shown(latent: Latent, power: float) -> str:
    return latent.name if power == 1 else f"a multiple of {latent.name}^{power:g}"


def listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def latent_of(site: Site, law: Law, axes: tuple[Axis, ...]) -> Latent:
    family = family_of(law, site.name)
    entry = distributions()[family.name]
    events = axes[len(axes) - entry.event_dim :] if entry.event_dim else ()
    return Latent(site, family, axes, events)
