"""From Lark's parse tree to the dataclasses of tree.py: one method per rule of the grammar, under the rule's name."""

from typing import Any

from lark import Tree
from lark.tree import Meta
from lark.visitors import Transformer_NonRecursive, v_args

from vispec.source import Span
from vispec.syntax import tree as t

Children = list[Any]


def span_of(at: Any) -> Span:
    """Where a Token, or the text of a rule by its Meta, stands; in a file that parsed both have all six numbers."""
    return Span(at.start_pos, at.end_pos, at.line, at.column, at.end_line, at.end_column)


def build(tree: Tree[Any]) -> tuple[t.Statement, ...]:
    """The statements of a parsed file. The tree's depth is bounded by the caller, its numbers are representable."""
    return Builder().transform(tree)


@v_args(meta=True)
class Builder(Transformer_NonRecursive):  # type: ignore[type-arg]
    """Each method gets the positions of its rule and the children already built, `None` for an absent optional part."""

    def start(self, meta: Meta, children: Children) -> tuple[t.Statement, ...]:
        return tuple(children)

    # ---- expressions

    def name(self, meta: Meta, children: Children) -> t.Name:
        return t.Name(span_of(meta), str(children[0]))

    def number(self, meta: Meta, children: Children) -> t.Number:
        return t.Number(span_of(meta), number(children[0]))

    def string(self, meta: Meta, children: Children) -> t.String:
        return t.String(span_of(meta), str(children[0])[1:-1])

    def all(self, meta: Meta, children: Children) -> t.All:
        return t.All(span_of(meta))

    def before(self, meta: Meta, children: Children) -> t.Before:
        return t.Before(span_of(meta), children[-1])

    def index(self, meta: Meta, children: Children) -> t.Index:
        base, *items = present(children)
        return t.Index(span_of(meta), base, tuple(items))

    def attribute(self, meta: Meta, children: Children) -> t.Attribute:
        return t.Attribute(span_of(meta), children[0], str(children[1]))

    def call(self, meta: Meta, children: Children) -> t.Call:
        function, *args = present(children)
        positional = tuple(a for a in args if not isinstance(a, t.Keyword))
        return t.Call(span_of(meta), function, positional, tuple(a for a in args if isinstance(a, t.Keyword)))

    def keyword(self, meta: Meta, children: Children) -> t.Keyword:
        return t.Keyword(span_of(meta), str(children[0]), children[1])

    def comprehension(self, meta: Meta, children: Children) -> t.Comprehension:
        return t.Comprehension(span_of(meta), *children)

    def list(self, meta: Meta, children: Children) -> t.ListOf:
        return t.ListOf(span_of(meta), tuple(present(children)))

    def length(self, meta: Meta, children: Children) -> t.Length:
        return t.Length(span_of(meta), children[0])

    def where(self, meta: Meta, children: Children) -> t.Where:
        return t.Where(span_of(meta), *children)

    def if_else(self, meta: Meta, children: Children) -> t.IfElse:
        return t.IfElse(span_of(meta), *children)

    def unary(self, meta: Meta, children: Children) -> t.Unary:
        op, operand = children
        return t.Unary(span_of(meta), "not" if op == "not" else "-", operand)

    def binary(self, meta: Meta, children: Children) -> t.Binary:
        left, op, right = children
        return t.Binary(span_of(meta), str(op), left, right)

    def then(self, meta: Meta, children: Children) -> t.Then:
        return t.Then(span_of(meta), tuple(children))

    # ---- types

    def type(self, meta: Meta, children: Children) -> t.TypeOf:
        domain, *args, star = children
        return t.TypeOf(span_of(meta), str(domain), tuple(present(args)), star is not None)

    def range(self, meta: Meta, children: Children) -> t.Range:
        return t.Range(span_of(meta), *children)

    def end(self, meta: Meta, children: Children) -> int:
        sign, digits = children
        return -int(digits) if sign else int(digits)

    def named(self, meta: Meta, children: Children) -> t.Named:
        return t.Named(span_of(meta), str(children[0]), children[1])

    # ---- declarations

    def size(self, meta: Meta, children: Children) -> t.Size:
        return t.Size(span_of(meta), *children)

    def vocab(self, meta: Meta, children: Children) -> t.Vocab:
        name, *options = children
        return t.Vocab(span_of(meta), name, tuple(present(options)))

    def embedding(self, meta: Meta, children: Children) -> t.Embedding:
        name, *settings = present(children)
        given = tuple(each for each in settings if not isinstance(each, t.Keyword))
        return t.Embedding(span_of(meta), name, given, tuple(each for each in settings if isinstance(each, t.Keyword)))

    def option(self, meta: Meta, children: Children) -> t.Keyword:
        name, *value = children
        if isinstance(name, t.Call):
            return t.Keyword(span_of(meta), name.function.id, name)
        return t.Keyword(span_of(meta), str(name), next(iter(present(value)), t.Name(span_of(meta), "true")))

    def param(self, meta: Meta, children: Children) -> t.Param:
        return t.Param(span_of(meta), *children)

    def variable(self, meta: Meta, children: Children) -> t.Variable:
        role, name, kind, law, of = (*children, None, None)[:5]
        return t.Variable(span_of(meta), str(role), name, kind, law, of)  # type: ignore[arg-type]

    def let(self, meta: Meta, children: Children) -> t.Let:
        name, kind, value = children
        return t.Let(span_of(meta), name, value, kind)

    def plate_head(self, meta: Meta, children: Children) -> tuple[Span, Children]:
        return span_of(meta), children

    def plate(self, meta: Meta, children: Children) -> t.Plate:
        (head, (kind, name, inner)), *body = children
        of, size = (inner, None) if isinstance(inner, t.Stretches) else (None, inner)
        return t.Plate(head.to(body[-1].span), str(kind), name, size, tuple(body), head, of)  # type: ignore[arg-type]

    def stretches(self, meta: Meta, children: Children) -> t.Stretches:
        of, *settings = children
        return t.Stretches(span_of(meta), of, tuple(present(settings)))

    def elements(self, meta: Meta, children: Children) -> t.Plate:
        word, name, size = children
        head = span_of(word).to(size.span)
        return t.Plate(head, "plate", name, size, (), head)

    # ---- nets

    def arguments(self, meta: Meta, children: Children) -> tuple[t.Named, ...]:
        return tuple(present(children))

    def heads(self, meta: Meta, children: Children) -> tuple[t.Named, ...]:
        return tuple(t.Named(c.span, "", c) if isinstance(c, t.TypeOf) else c for c in present(children))

    def stage(self, meta: Meta, children: Children) -> t.Stage:
        layer, *prior = children
        call = t.Call(layer.span, layer, ()) if isinstance(layer, t.Name) else layer
        return t.Stage(span_of(meta), call, prior[0] if prior else None)

    def trunk(self, meta: Meta, children: Children) -> tuple[t.Stage, ...]:
        return tuple(children)

    def net(self, meta: Meta, children: Children) -> t.Net:
        return t.Net(span_of(meta), *children)

    # ---- sections

    def guide(self, meta: Meta, children: Children) -> t.Guide:
        return t.Guide(section_span(meta, children), tuple(children))

    def guide_law(self, meta: Meta, children: Children) -> t.GuideLaw:
        return t.GuideLaw(span_of(meta), *children)

    def guide_let(self, meta: Meta, children: Children) -> t.GuideLet:
        return t.GuideLet(span_of(meta), *children)

    def guide_auto(self, meta: Meta, children: Children) -> t.GuideAuto:
        return t.GuideAuto(span_of(meta), *children)

    def infer(self, meta: Meta, children: Children) -> t.Infer:
        return t.Infer(section_span(meta, children), tuple(children))

    def infer_law(self, meta: Meta, children: Children) -> t.InferLaw:
        return t.InferLaw(span_of(meta), *children)

    def fit(self, meta: Meta, children: Children) -> t.Fit:
        return t.Fit(section_span(meta, children), tuple(children))

    def fit_entry(self, meta: Meta, children: Children) -> t.FitEntry:
        return t.FitEntry(span_of(meta), *children)

    def names(self, meta: Meta, children: Children) -> t.Names:
        return t.Names(span_of(meta), tuple(children))

    def schedule(self, meta: Meta, children: Children) -> t.Schedule:
        *parts, unit = children
        return t.Schedule(span_of(meta), *parts, str(unit))  # type: ignore[arg-type]

    def amount(self, meta: Meta, children: Children) -> t.Amount:
        number, unit = children
        return t.Amount(span_of(meta), number, str(unit))  # type: ignore[arg-type]


def number(token: str) -> int | float:
    """2 is an int; 2.0 and 2e0 are floats."""
    return int(token) if token.isdigit() else float(token)


def present(children: Children) -> Children:
    return [child for child in children if child is not None]


def section_span(meta: Meta, entries: Children) -> Span:
    """From the section's word to the end of its last entry; the rule itself runs on through the blank lines below."""
    return span_of(meta).to(entries[-1].span)
