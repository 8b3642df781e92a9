"""Expressions and laws as mathematics: one line of Unicode in the language's own words, or TeX."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vispec.graph.symbols import glyph, latex_escape, latex_name
from vispec.model import model as m
from vispec.model.show import show_setting
from vispec.model.walk import walk

_LEVEL = {"or": 1, "and": 2, "not": 3, **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), 4)}
_LEVEL |= {"+": 5, "-": 5, "*": 6, "/": 6, "neg": 7, "^": 8}
_ATOM = 9
_UNICODE = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "*": "·", "-": "−", "and": "∧", "or": "∨", "neg": "−", "not": "¬"}
_TEX = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne", "*": r"\,", "and": r"\wedge", "or": r"\vee"}
_TEX |= {"neg": "-", "not": r"\neg "}


@dataclass(frozen=True)
class Notation:
    """How mathematics is written. plates: the indices that each name is shown with at its own element; instead: what
    is shown for some of them, a number or the sign for all elements."""

    latex: bool = False
    plates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)

    def name(self, name: str) -> str:
        return latex_name(name) if self.latex else glyph(name)

    def at(self, name: str, indices: Iterable[str]) -> str:
        """A name with indices that are already written."""
        inside = ", ".join(indices)
        if not inside:
            return self.name(name)
        return f"{self.name(name)}_{{{inside}}}" if self.latex else f"{self.name(name)}[{inside}]"

    def own(self, name: str) -> str:
        """A name at its own element of its plates."""
        return self.at(name, map(self.index, self.plates.get(name, ())))

    def index(self, plate: str) -> str:
        """The present element of a plate."""
        return self.instead.get(plate) or self.name(plate)

    def whole(self, name: str, plate: str) -> str:
        """All elements along a plate, which is the innermost of the name's."""
        return self.at(name, (*self._outer(name, plate), self.range))

    def back(self, name: str, plate: str, lag: int) -> str:
        """The element so many steps before, along a plate which is the innermost of the name's."""
        before = self.instead.get(plate) or f"{self.name(plate)}{self._sign('-')}{lag}"
        return self.at(name, (*self._outer(name, plate), before))

    @property
    def range(self) -> str:
        """The sign for all elements along a plate."""
        return ":" if self.latex and self.plates else r"\ast" if self.latex else "*"

    def call(self, function: str, args: Iterable[str]) -> str:
        inside = ", ".join(args)
        return f"{self.name(function)}({inside})"

    def expression(self, value: m.Expression) -> str:
        return self._show(value)[0]

    def law(self, law: m.Law | None) -> str:
        match law:
            case m.Draw():
                outer, own, bounds = m.taken_apart(law)
                said = [f"{name} = {show_setting(value)}" for name, value in own.options]
                inside = self.call(own.distribution, [*self._heads(own.args), *said])
                told = (f"{word} = {self.expression(value)}" for word, value in bounds)
                return self.call(outer, [inside, *told]) if outer else inside
            case m.Choice(test=test, then=then, otherwise=otherwise):
                return self._either(self.law(then), self.expression(test), self.law(otherwise))
            case m.Then(laws=laws):
                return self._word("then").join(map(self.law, laws))
            case m.Flow(base=base, context=context):
                return self.call("Flow", self._heads(base.args if context is None else (*base.args, ("context", context))))
        return ""

    def _heads(self, args: tuple[tuple[str, m.Expression], ...]) -> list[str]:
        """The parameters; the heads of one net call are written as the call itself, as in the spec."""
        values = [value for _, value in args]
        calls = {(v.net, v.args) for v in values if isinstance(v, m.NetCall)}
        if len(values) > 1 and len(calls) == 1 and all(isinstance(v, m.NetCall) for v in values):
            net, inside = next(iter(calls))
            return [self.call(net, map(self.expression, inside))]
        return [self.expression(value) for value in values]

    def _either(self, then: str, test: str, otherwise: str) -> str:
        return then + self._word("if") + test + self._word("else") + otherwise

    def _word(self, word: str) -> str:
        return rf" \text{{ {word} }} " if self.latex else f" {word} "

    def _show(self, value: m.Expression) -> tuple[str, int]:
        """The text and how tightly it binds."""
        match value:
            case m.Const(value=number):
                return f"{number:g}" if isinstance(number, float) else str(number), _ATOM
            case m.Ref(name=name):
                return self.own(name), _ATOM
            case m.All(name=name, plate=plate):
                return self.whole(name, plate), _ATOM
            case m.Base(draw=draw):
                return self.call("base", [self.own(draw.name)]), _ATOM
            case m.Evidence(read=read, seen=seen):
                cell, _ = self._show(read)
                return self.call("seen", [cell]) if seen else cell, _ATOM
            case m.Prefix(name=name, plate=plate):
                before = self.instead.get(plate) or f"<{self.name(plate)}"
                return self.at(name, (*self._outer(name, plate), before)), _ATOM
            case m.Past(name=name, plate=plate, lag=lag):
                return self.back(name, plate, lag), _ATOM
            case m.Select(name=name, by=by):
                return self._select(name, by), _ATOM
            case m.Element(base=base, at=at):
                return self._element(base, at), _ATOM
            case m.Position(plate=plate):
                return self.name(plate), _ATOM
            case m.Length(plate=plate):
                return f"|{self.name(plate)}|", _ATOM
            case m.SizeOf(name=name):
                return self.name(name), _ATOM
            case m.NetCall(net=net, args=args, head=head):
                call = self.call(net, map(self.expression, args))
                return (f"{call}.{latex_escape(head) if self.latex else head}" if head else call), _ATOM
            case _:
                return self._compound(value)

    def _compound(self, value: m.Expression) -> tuple[str, int]:
        match value:
            case m.Recursion(steps=steps):
                return self._word("then").join(self._inside(step, 1) for step in steps), 0
            case m.Where(sequence=sequence, mask=mask):
                return self.expression(sequence) + self._word("where") + self.expression(mask), 0
            case m.Apply(function=function, args=args):
                return self._apply(function, args)
            case m.Conditional(test=test, then=then, otherwise=otherwise):
                return self._either(self._inside(then, 1), self._inside(test, 1), self._inside(otherwise, 0)), 0
            case m.For(body=body, plate=plate):
                return self._inside(body, 1) + self._word("for") + self.name(plate), 0
            case m.Stack(items=items):
                return f"[{', '.join(map(self.expression, items))}]", _ATOM
        raise AssertionError(f"no notation for {type(value).__name__}")

    def _apply(self, function: str, args: tuple[m.Expression, ...]) -> tuple[str, int]:
        level = _LEVEL.get(function)
        if level is None:
            return self.call(function, map(self.expression, args)), _ATOM
        if len(args) == 1:
            return f"{self._sign(function)}{self._inside(args[0], level)}", level
        left, right = self._inside(args[0], level), self._inside(args[1], level if function == "^" else level + 1)
        if function == "^":
            return (f"{{{left}}}^{{{right}}}" if self.latex else f"{left}^{right}"), level
        return f"{left} {self._sign(function)} {right}", level

    def _inside(self, value: m.Expression, level: int) -> str:
        text, own = self._show(value)
        return text if own >= level else f"({text})"

    def _sign(self, operator: str) -> str:
        return (_TEX if self.latex else _UNICODE).get(operator, operator)

    def _outer(self, name: str, plate: str) -> list[str]:
        return [self.index(p) for p in self.plates.get(name, ()) if p != plate]

    def _select(self, name: str, by: tuple[tuple[str, m.Expression], ...]) -> str:
        at = dict(by)
        own = self.plates.get(name, ())
        indices = [self._at(p, at[p]) if p in at else self.index(p) for p in own if p in at or self.plates]
        return self.at(name, indices or map(self.expression, at.values()))

    def _at(self, plate: str, index: m.Expression) -> str:
        """An index as it stands, or the sign for all where it moves with a plate of which all elements are meant."""
        moves = any(isinstance(part, m.Position) and part.plate in self.instead for part in walk(index))
        return self.range if moves else self.expression(index)

    def _element(self, base: m.Expression, at: m.Expression) -> str:
        text, level = self._show(base)
        if level < _ATOM:
            text = f"({text})"
        inside = self.expression(at)
        return f"{{{text}}}_{{[{inside}]}}" if self.latex else f"{text}[{inside}]"


TEXT = Notation()
LATEX = Notation(latex=True)
