"""Densities as formulas, each both as itself and as its logarithm, so that a derivation can move between sums and products."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vispec.graph.maths import Notation
from vispec.model import model as m


@dataclass(frozen=True)
class Formula:
    """prob: a product or a sum of densities; log: its logarithm.

    loose: prob is a sum, to be put in brackets within a product. open: its end does not show,
    so that it comes last in a product."""

    prob: str
    log: str
    loose: bool = False
    open: bool = False


@dataclass(frozen=True)
class Section:
    """A heading and a few words in Unicode, and formulas in Unicode or TeX."""

    heading: str
    prose: str
    formulas: tuple[str, ...]


@dataclass(frozen=True)
class Writer:
    """How formulas are composed, in TeX or in one line of Unicode."""

    model: m.Model
    notation: Notation

    @classmethod
    def of(cls, model: m.Model, latex: bool = False) -> "Writer":
        """A writer that shows every index but that of the rows."""
        data = {plate.name for plate in model.plates if plate.data}
        named = (*model.params, *model.variables, *model.lets, *model.guide_lets)
        plates = {item.name: tuple(p for p in item.plates if p not in data) for item in named}
        return cls(model, Notation(latex, plates))

    @property
    def latex(self) -> bool:
        return self.notation.latex

    @property
    def prose(self) -> "Writer":
        """For names and formulas within words, which are Unicode until they are shown."""
        return replace(self, notation=replace(self.notation, latex=False))

    def sign(self, text: str, tex: str) -> str:
        return tex if self.latex else text

    def at(self, indices: Mapping[str, str]) -> "Writer":
        """A writer that shows other indices in the place of some."""
        return replace(self, notation=replace(self.notation, instead={**self.notation.instead, **indices}))

    # ---- densities

    def drawn(self, name: str) -> str:
        """What a law is on: a variable at its own element, or all labels along a plate."""
        variable = self.model.variable.get(name)
        along = None if variable is None else variable.type.along
        return self.notation.own(name) if along is None else self.notation.whole(name, along)

    def density(self, name: str, law: m.Law | None, letter: str = "p") -> Formula:
        """p(name | what its law reads of the model's variables)."""
        of = self.model.variable[name].type.whole_of if letter == "p" and name in self.model.variable else None
        whole = () if of is None else (self.notation.name(of[0]),)
        given = list(dict.fromkeys((*whole, *self._conditions(law))))
        inside = self.drawn(name) + (self.sign(" | ", r" \mid ") + ", ".join(given) if given else "")
        return Formula(f"{letter}({inside})", self.log(f"{letter}({inside})"))

    def _conditions(self, part: m.Expression | m.Law | None) -> Iterator[str]:
        """The outermost mentions of variables and lets, and of nets whose weights are random; all elements of what is gone
        through."""
        from vispec.graph.reads import parts

        if part is None:
            return
        name = getattr(part, "name", "")
        if isinstance(part, m.Ref | m.All | m.Prefix | m.Past | m.Select) and name not in self.model.param:
            yield self.notation.expression(part)
            return
        if isinstance(part, m.NetCall) and self.model.net[part.net].random:
            yield self.notation.name(part.net)
        inside = self.at({part.plate: self.notation.range}) if isinstance(part, m.For) else self
        for inner in parts(part):
            yield from inside._conditions(inner)

    # ---- compositions

    def log(self, text: str) -> str:
        return self.sign("log ", r"\log ") + text

    def times(self, formulas: Iterable[Formula]) -> Formula:
        """The product of several."""
        found = sorted(formulas, key=lambda formula: formula.open)
        if len(found) == 1:
            return found[0]
        probs = [f"[{f.prob}]" if f.loose else f.prob for f in found]
        logs = [self.log(prob) if f.loose else f.log for f, prob in zip(found, probs, strict=True)]
        log = " + ".join(logs).replace("+ −", "− ").replace("+ -", "- ")
        return Formula(self.sign(" · ", r"\, ").join(probs) or "1", log or "0", open=any(f.open for f in found))

    def over(self, plates: Iterable[str], formula: Formula, several: bool = False) -> Formula:
        """The product over the elements of plates."""
        for plate in reversed(list(plates)):
            index = self.notation.name(plate)
            prob = f"[{formula.prob}]" if formula.loose or several else formula.prob
            log = f"[{formula.log}]" if several else formula.log
            product, total = self.sign(f"∏_{index} ", rf"\prod_{{{index}}} "), self.sign(f"Σ_{index} ", rf"\sum_{{{index}}} ")
            formula, several = Formula(product + prob, total + log, open=True), False
        return formula

    def over_pointing(self, plates: Iterable[str], at: Iterable[tuple[str, str]], formula: Formula, several: bool) -> Formula:
        """The product over those elements of plates whose indices point at the present ones of others."""
        over = ", ".join(map(self.notation.name, plates))
        tests = ", ".join(f"{index} = {self.notation.name(plate)}" for plate, index in at)
        to = f"{over}: {tests}" if over else tests
        prob, log = (f"[{formula.prob}]", f"[{formula.log}]") if several or formula.loose else (formula.prob, formula.log)
        product, total = self.sign(f"∏_{{{to}}} ", rf"\prod_{{{to}}} "), self.sign(f"Σ_{{{to}}} ", rf"\sum_{{{to}}} ")
        return Formula(product + prob, total + log, open=True)

    def where(self, tests: Iterable[tuple[str, int]], formula: Formula) -> Formula:
        """A factor that counts where indices point at these elements."""
        test = self.sign(" ∧ ", r" \wedge ").join(f"{index} = {number}" for index, number in tests)
        words, otherwise = (rf" \text{{ {word} }} " if self.latex else f" {word} " for word in ("if", "else"))
        return Formula(f"({formula.prob}{words}{test}{otherwise}1)", f"({formula.log}{words}{test}{otherwise}0)")

    def summed(self, latents: Iterable[str], formula: Formula) -> Formula:
        """The sum over all values of latents at one element."""
        names = ", ".join(map(self.notation.own, latents))
        return self._sum(names, formula)

    def summed_chain(self, latents: Iterable[str], plate: str, formula: Formula) -> Formula:
        """The sum over all sequences of latents along a chain."""
        return self.summed_all(latents, plate, self.over((plate,), formula, several=True))

    def summed_all(self, latents: Iterable[str], plate: str, formula: Formula) -> Formula:
        """The sum over all their values along a plate."""
        return self._sum(", ".join(self.notation.whole(name, plate) for name in latents), formula)

    def _sum(self, names: str, formula: Formula) -> Formula:
        subscript = self.sign(f"Σ_{{{names}}} ", rf"\sum_{{{names}}} ")
        prob = subscript + formula.prob
        return Formula(prob, self.log(prob), loose=True)

    def mean(self, guides: Iterable[Formula], log: str) -> str:
        """The expectation of a logarithm under densities of the guide; of none, itself."""
        names = ", ".join(guide.prob for guide in guides)
        return self.sign(f"E_{{{names}}}", rf"\mathbb{{E}}_{{{names}}}") + f"[{log}]" if names else log

    def expected(self, latents: Iterable[str], guide: Formula, log: str) -> Formula:
        """The expectation of a logarithm under the guide of enumerated latents, with the guide's entropy."""
        names = ", ".join(map(self.notation.own, latents))
        subscript = self.sign(f"Σ_{{{names}}} ", rf"\sum_{{{names}}} ")
        log = f"{subscript}{guide.prob} [{log} {self.sign('−', '-')} {guide.log}]"
        return Formula(self.sign("exp", r"\exp") + f"({log})", log)


def nested(writer: Writer, factors: Iterable[tuple[tuple[str, ...], Formula]]) -> Formula:
    """The product of factors, each in its plates, as nested products over plates."""
    here: list[Formula] = []
    inside: dict[str, list[tuple[tuple[str, ...], Formula]]] = {}
    for plates, formula in factors:
        if not plates:
            here.append(formula)
        else:
            inside.setdefault(plates[0], []).append((plates[1:], formula))
    for plate, inner in inside.items():
        terms = sum(not plates for plates, _ in inner) + len({plates[0] for plates, _ in inner if plates})
        here.append(writer.over((plate,), nested(writer, inner), several=terms > 1))
    return writer.times(here)


def integral(writer: Writer, name: str) -> str:
    """The sign of an integral over a variable."""
    return writer.sign(f"∫ d{name} ", rf"\int \mathrm{{d}}{name}\, ")


# ---- names of the joint


def random_nets(writer: Writer) -> list[str]:
    return [writer.notation.name(net.name) for net in writer.model.nets if net.random]


def ordered(model: m.Model) -> list[m.Variable]:
    """The variables in the order in which they can be drawn."""
    return [model.variable[name] for name in model.order if name in model.variable]


def row_plates(model: m.Model) -> set[str]:
    """Plates whose index is left out: that of the rows, but where these share latents."""
    inside = {plate.name for plate in model.plates if plate.data}
    shared = any(net.random for net in model.nets) or any(
        variable.role == "latent" and inside.isdisjoint(variable.plates) for variable in model.variables
    )
    return {plate.name for plate in model.plates if plate.data and (plate.implicit or not shared)}


def law_alone(writer: Writer) -> Formula | None:
    """The one law of a joint of nothing else, at its variable's value: `Normal(x | f(y))` says more than p(x | y)."""
    model, notation = writer.model, writer.notation
    own = [variable for variable in model.variables if variable.role != "given"]
    if len(own) != 1 or own[0].role != "observed" or random_nets(writer):
        return None
    if {*own[0].law_plates} - row_plates(model) or not isinstance(own[0].law, m.Draw):
        return None
    name, _, inside = notation.law(own[0].law).partition("(")
    bar = "" if inside == ")" else writer.sign(" | ", r" \mid ")
    text = f"{name}({writer.drawn(own[0].name)}{bar}{inside}"
    return Formula(text, writer.log(text))


def joint_name(writer: Writer, hidden: bool = True, points: Sequence[str] = ()) -> str:
    """p(all that is not given | what is given), with or without the latents, or with those that have point estimates."""
    variables = ordered(writer.model)
    roles = ("observed", "partial", "latent") if hidden else ("observed", "partial")
    names = (random_nets(writer) if hidden else []) + [writer.notation.name(v.name) for v in variables if v.role in roles]
    names += points
    given = [writer.notation.name(v.name) for v in variables if v.role == "given"]
    bar = writer.sign(" | ", r" \mid ")
    return f"p({', '.join(names)}{bar + ', '.join(given) if given else ''})"
