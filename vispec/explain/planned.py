"""The sums of a plan, one after the other, and the objective that they end in, in words and formulas."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from vispec.explain.factors import factor, guide, guided, joint_guide, label_score
from vispec.explain.formula import Formula, Section, Writer, integral, nested
from vispec.explain.formula import ordered as variables_in_order
from vispec.explain.gradient import gradient
from vispec.explain.objective import costs, objective
from vispec.graph.reads import reads
from vispec.model import model as m
from vispec.model.walk import law_parts, walk
from vispec.plan.formulas import Symbols
from vispec.plan.order.steps import Counted, Element, Expected, Product, Scatter, Step, Structured, Sum
from vispec.plan.planned import Plan
from vispec.plan.rows import INDEPENDENT, owner, summed_by, symbols_of, words
from vispec.program.axis import Axis, ordered
from vispec.structures import structures

TEX_TIMES = r"\, "


def planned(writer: Writer, plan: Plan) -> Iterator[Section]:
    """A section for each step that sums, or multiplies what was summed, the objective, its gradient, and what they take."""
    told = Told(writer, plan, symbols_of(plan.row))
    number, sums = 0, set[str]()
    for step in plan.order.steps:
        if not {*step.inputs} & told.formulas.keys() and isinstance(step, Product | Element):
            continue
        told.formulas[step.output] = told.apply(step)
        if not isinstance(step, Product | Element) or sums & {*step.inputs}:
            sums.add(step.output)
        if isinstance(step, Sum | Expected | Scatter | Structured) or (isinstance(step, Product) and step.output in sums):
            number += 1
            found = told.formulas[step.output]
            shown = found.log if isinstance(step, Expected) else found.prob
            yield Section(f"Step {number}: {told.what(step)}", told.because(step), (shown, *told.recursion(step)))
    yield objective(told, told.formulas[plan.order.steps[-1].output])
    yield from gradient(told)
    yield costs(plan)


@dataclass
class Told:
    """formulas: of the factors and of the results of steps so far; none of a structure's own law, and of what says which joint
    values count. copies: what unrolling makes of factors → their names. numbers: axes of unrolled latents → the elements.
    sources: factors and results → the variables whose laws they are of."""

    writer: Writer
    plan: Plan
    symbols: Symbols
    formulas: dict[str, Formula] = field(default_factory=dict)
    copies: dict[str, Element] = field(default_factory=dict)
    numbers: dict[Axis, dict[str, str]] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in self.plan.row.joint.problem.factors:
            kind, _, name = each.name.partition("_")
            self.sources[each.name] = (name,)
            labels = kind in ("log", "norm") and self.writer.model.variable[name].type.along is not None
            if labels and self.plan.treatments[name].kind == "data":  # their scores and the normaliser are one law
                kind = {"norm": "log"}.get(kind, "")
            if kind in ("log", "guide", "seen", "kl", "ratio"):
                self.formulas[each.name] = factor(self.writer, kind, name)
        self.integrate()
        for step in self.plan.order.steps:
            self.sources[step.output] = tuple(dict.fromkeys(n for each in step.inputs for n in self.sources.get(each, ())))
            if isinstance(step, Element):
                self.copies[step.output] = step
                for axis, copy in step.names:
                    if copy.like is axis and (number := dict(step.at).get(step.plate)) is not None:
                        self.numbers[copy] = {**self.numbers.get(axis, {}), str(step.plate.origin): str(number)}

    def integrate(self) -> None:
        """One integral in place of the laws that are in it: those of what is integrated, and of all that read it."""
        model, problem = self.writer.model, self.plan.row.joint.problem
        names = [t.variable for t in self.plan.treatments.values() if t.kind == "integrate"]
        evidence = [each for each in problem.factors if each.name.startswith("evidence_")]
        if not names or not evidence:
            return
        read = [v for v in variables_in_order(model) if v.name in names or (v.law is not None and self.law_reads(v, names))]
        read = [v for v in read if v.law is not None and self.plan.treatments[v.name].kind != "free"]
        for variable in read:
            self.formulas.pop(f"log_{variable.name}", None)
        apart = {str(axis.origin) for axis in frozenset[Axis].intersection(*(each.plates for each in evidence))}
        apart |= {plate.name for plate in model.plates if plate.data}
        laws = [(tuple(p for p in v.plates if p not in apart), self.writer.density(v.name, v.law)) for v in read]
        signs = "".join(integral(self.writer, self.writer.notation.name(name)) for name in names)
        whole = signs + nested(self.writer, laws).prob
        self.formulas[evidence[0].name] = Formula(whole, self.writer.log(whole))

    def law_reads(self, variable: m.Variable, names: Collection[str]) -> bool:
        """Whether a law reads some of these, be it through lets."""
        return any(self.reads_some(read.name, names) for read in reads(variable.law))  # type: ignore[arg-type]

    @property
    def drawn(self) -> dict[str, tuple[Formula, set[str]]]:
        """For each drawn variable the density that it is drawn from, and which of the summed variables that reads."""
        summed = {t.variable for t in self.plan.treatments.values() if t.kind == "sum"}
        found, model = dict[str, tuple[Formula, set[str]]](), self.writer.model
        guides = {each.name: place for place, each in enumerate(model.guide)}  # in their order, as one may read others
        for name, treatment in sorted(self.plan.treatments.items(), key=lambda item: guides.get(item[0], -1)):
            if model.joint is not None and name in model.joint.names:
                found[model.joint.names[0]] = (joint_guide(self.writer, model.joint), set())
            elif treatment.kind == "draw" and not self.plan.row.draws.way(name).point:
                law = guide(model, name) or model.variable[name].law
                letter = "q" if guide(model, name) else "p"
                found[name] = (self.writer.density(name, law, letter), {read.name for read in reads(law)} & summed)
        return found

    @property
    def points(self) -> list[str]:
        """What all rows share that has a point estimate."""
        return [name for name in self.plan.shared_latents if self.plan.row.draws.way(name).point]

    @property
    def guided(self) -> bool:
        """Whether all that is drawn is drawn from guides."""
        model = self.writer.model
        return all(guided(model, t.variable) for t in self.plan.drawn)

    # ---- formulas

    def inputs(self, names: tuple[str, ...]) -> Formula:
        """The product of factors; all copies of one that unrolling has made as one product again."""
        found, seen = list[Formula](), set[str]()
        for name in (name for name in names if name in self.formulas):
            step = self.copies.get(name)
            if step is None or not {*self.siblings(step)} <= {*names}:
                found.append(self.formulas[name])
            elif (source := step.inputs[0]) not in seen:
                seen.add(source)
                over = (str(step.plate),) if step.plate in dict(step.at) else ()
                found.append(self.writer.over(over, self.formulas[source]))
        return self.writer.times(found)

    def siblings(self, step: Element) -> list[str]:
        """All that a factor becomes by the same unrolling."""
        return [name for name, other in self.copies.items() if (other.inputs, other.plate) == (step.inputs, step.plate)]

    def apply(self, step: Step) -> Formula:
        """The formula of a step's result."""
        match step:
            case Scatter(over=over, at=at):
                pointed = {owner(there, self.plan.row) for _, there in step.names}
                told = [(str(plate), self.indices(step, plate, pointed)) for plate, _ in at]
                tests = [(plate, index) for plate, indices in told for index in indices]
                return self.writer.over_pointing(self.plates(over), tests, self.inputs(step.inputs), len(step.inputs) > 1)
            case Product(over=over):
                return self.writer.over(self.plates(over), self.inputs(step.inputs), several=len(step.inputs) > 1)
            case Structured():
                return self.structured(step)
            case Expected():
                first, *rest = step.inputs
                names = summed_by(step, self.plan.row)
                inner = [q for q, read in self.drawn.values() if read & {*names}]
                inside = self.writer.mean(inner, self.inputs(tuple(rest)).log)
                return self.writer.expected(names, self.formulas[first], inside)
            case Sum():
                names = summed_by(step, self.plan.row) or (str(step.over),)
                return self.writer_at(step.over).summed(names, self.inputs(step.inputs))
            case Element():
                return self.element(step)
            case Counted():
                return Formula("1", "0")
        return self.inputs(step.inputs)

    def writer_at(self, axis: Axis) -> Writer:
        """A writer of the names of a latent that an axis has the values of: at numbers along unrolled plates, and at all
        elements along those whose joint values they are."""
        shown = dict[str, str]()
        while axis not in self.numbers and (inner := axis.of[0] if axis.kind == "joint" and axis.of else axis.like) is not None:
            along = axis.of[1:] if axis.kind == "joint" else ()
            shown |= {str(plate.origin): self.writer.notation.range for plate in along}
            axis = inner
        return self.writer.at(shown | self.numbers.get(axis, {}))

    def element(self, step: Element) -> Formula:
        """A factor at one element of a plate, or where it points at some of them."""
        formula = self.formulas[step.inputs[0]]
        if step.where:
            texts = self.indices(step, step.plate, {t.variable for t in self.plan.treatments.values() if t.kind == "sum"})
            tests = [(text, number) for text, (_, number) in zip(texts, step.where, strict=True) if text != str(number)]
            if any(text.isdigit() for text, _ in tests):
                return Formula("1", "0")
            formula = self.writer.where(tests, formula) if tests else formula
        for axis, number in step.at:
            if axis.kind == "plate":
                sign = self.writer.sign(f" at {axis.origin} = {number}", rf"\big|_{{{axis.origin} = {number}}}")
                formula = Formula(f"[{formula.prob}]{sign}", f"[{formula.log}]{sign}")
        return formula

    def indices(self, step: Step, plate: Axis, latents: Collection[str | None]) -> list[str]:
        """What stands at a plate where the laws of a factor's variables read elements of latents along it."""
        laws = [self.writer.model.variable[name].law for name in self.sources[step.inputs[0]]]
        parts = [part for law in laws if law is not None for value in law_parts(law) for part in self.through_lets(value)]
        found = [dict(part.by).get(str(plate.origin)) for part in parts if self.reads_some(part.name, latents)]
        return list(dict.fromkeys(self.writer.notation.expression(index) for index in found if index is not None))

    def reads_some(self, name: str, latents: Collection[str | None]) -> bool:
        """Whether this is one of the latents, or a let that reads some of them."""
        let = self.writer.model.let.get(name)
        return name in latents or (let is not None and any(self.reads_some(read.name, latents) for read in reads(let.value)))

    def through_lets(self, value: m.Expression) -> Iterator[m.Select]:
        """All elements that an expression, or a let that it reads, selects."""
        for part in walk(value):
            if isinstance(part, m.Select):
                yield part
            name = getattr(part, "name", "")
            if isinstance(part, m.Ref | m.All | m.Prefix | m.Past | m.Select) and name in self.writer.model.let:
                yield from self.through_lets(self.writer.model.let[name].value)

    def structured(self, step: Structured) -> Formula:
        writer, names = self.writer_at(step.group.states[0]), summed_by(step, self.plan.row)
        plate = str(step.group.plate.origin)
        variables = [self.writer.model.variable[name] for name in names]
        own = [self.writer.density(each.name, each.law) for each in variables if each.type.whole]
        if not own:
            return writer.summed_chain(names, plate, self.inputs(step.inputs))
        others = tuple(name for name in step.inputs if name in self.formulas)
        each = [self.writer.over((plate,), self.inputs(others), several=len(others) > 1)] if others else []
        inside = self.writer.times([*own, *each])
        return writer.summed_all(names, plate, inside) if step.group.shape is None else writer.summed(names, inside)

    def plates(self, axes: tuple[Axis, ...]) -> tuple[str, ...]:
        return tuple(str(axis.origin) for axis in axes)

    def recursion(self, step: Step) -> tuple[str, ...]:
        """The forward pass of a chain: of order k, over the values of k elements."""
        if not isinstance(step, Structured) or not step.group.pasts:
            return ()
        writer, names, order = self.writer_at(step.group.states[0]), summed_by(step, self.plan.row), len(step.group.pasts)
        plate = str(step.group.plate.origin)

        def at(lag: int) -> str:
            return ", ".join(writer.notation.back(name, plate, lag) if lag else writer.notation.own(name) for name in names)

        here, before = (", ".join(map(at, range(start, start + order))) for start in (0, 1))
        alpha, subscript = writer.sign("α", r"\alpha"), writer.sign(f"Σ_{{{at(order)}}} ", rf"\sum_{{{at(order)}}} ")
        scores = [label_score(writer, self.writer.model.variable[name], plate) for name in names]
        each = [found for found in scores if found is not None]
        each += [self.inputs(step.inputs)] if {*step.inputs} & self.formulas.keys() else []
        inputs = writer.times(each).prob
        return (f"{alpha}({here}) = {subscript}{alpha}({before}){writer.sign(' · ', TEX_TIMES)}{inputs}",)

    # ---- words

    def what(self, step: Step) -> str:
        names = ", ".join(dict.fromkeys(summed_by(step, self.plan.row)))
        match step:
            case Product(over=over):
                return f"multiply over {', '.join(self.plates(over))}"
            case Scatter(over=over, at=at):
                into = ", ".join(str(plate) for plate, _ in at)
                many = f"multiply over {', '.join(self.plates(over))}" if over else "multiply"
                return f"{many}, for each {into} those that point at it"
            case Structured(kind=kind, group=group):
                entry = structures()[kind]
                if group.shape is None:
                    return f"sum over all sequences of {names} along {group.plate}"
                return f"sum over all {entry.summed or entry.name} {names}"
            case Sum(over=over) if over.kind == "joint":
                return f"sum out {names}, all elements along {', '.join(map(str, over.of[1:]))} together"
        return f"sum out {names}"

    def because(self, step: Step) -> str:
        """Why this can be done, and what it costs."""
        if isinstance(step, Product):
            return "Its elements are independent given what is left."
        if isinstance(step, Scatter):
            return "What points at one element is independent given it."
        why = words(step, self.plan.row)
        if why == INDEPENDENT:
            why = self.each(step)
        kept = self.symbols.elements(ordered(self.plan.row.joint.problem.kept))
        terms = self.symbols.text(step.count(self.symbols.numbers) * kept)
        start = " α of what stands before the first element is 1." if isinstance(step, Structured) and step.group.pasts else ""
        if any(self.writer.model.variable[name].type.along for name in summed_by(step, self.plan.row)):
            start += " Nothing is moved from there, and the same sum with nothing seen normalises the labels' law."
        return f"{why[:1].upper()}{why[1:]}. Cost: {terms} terms.{start}"

    def each(self, step: Step) -> str:
        """That elements of plates within a row are summed one by one, as a sum of products is the product of sums."""
        model, (name, *_) = self.writer.model, summed_by(step, self.plan.row)
        inner = [plate for plate in model.variable[name].plates if not model.plate[plate].data]
        return f"independent in each element of {', '.join(inner)}, so each by itself" if inner else "in each row by itself"
