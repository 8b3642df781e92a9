"""The syntax tree: one dataclass per grammar rule, every node with its span. Nothing is resolved or checked here."""

from dataclasses import dataclass
from typing import Literal

from vispec.source import Source, Span


@dataclass(frozen=True)
class Node:
    span: Span


# ---- expressions


@dataclass(frozen=True)
class Number(Node):
    value: int | float


@dataclass(frozen=True)
class String(Node):
    value: str


@dataclass(frozen=True)
class Name(Node):
    id: str


@dataclass(frozen=True)
class All(Node):
    """`*` in `y[*]`."""


@dataclass(frozen=True)
class Before(Node):
    """`<i` in `x[<i]`."""

    plate: Name


@dataclass(frozen=True)
class Index(Node):
    """`y[a]`, `confusion[who, truth]`, `x[*]`, `x[<i]`, `c[t-1]`."""

    base: "Expr"
    items: tuple["Expr | All | Before", ...]


@dataclass(frozen=True)
class Where(Node):
    """`y[*] where f[*]`: the elements of a sequence at which the mask is 1."""

    sequence: "Expr"
    mask: "Expr"


@dataclass(frozen=True)
class Keyword(Node):
    """`name=value` in a call."""

    name: str
    value: "Expr"


@dataclass(frozen=True)
class Call(Node):
    """A net, a function, a distribution, a layer or an estimator applied; which one is for the checker to say."""

    function: Name
    args: tuple["Expr", ...]
    kwargs: tuple[Keyword, ...] = ()


@dataclass(frozen=True)
class Attribute(Node):
    """`component(c).loc`: one head of a net."""

    base: "Expr"
    name: str


@dataclass(frozen=True)
class Unary(Node):
    op: Literal["-", "not"]
    operand: "Expr"


@dataclass(frozen=True)
class Binary(Node):
    """op is one of + - * / ^ < <= > >= == != and or."""

    op: str
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True)
class IfElse(Node):
    """`a if cond else b`; in a law, a and b are laws."""

    then: "Expr"
    test: "Expr"
    otherwise: "Expr"


@dataclass(frozen=True)
class Comprehension(Node):
    """`softmax(body for j)`: the argument is a vector with one entry per element of plate j."""

    body: "Expr"
    plate: Name


@dataclass(frozen=True)
class Length(Node):
    """`|x|`."""

    operand: "Expr"


@dataclass(frozen=True)
class ListOf(Node):
    """`[64, 64]`."""

    items: tuple["Expr", ...]


@dataclass(frozen=True)
class Then(Node):
    """`P0 then P1 then P2`: the laws of a chain's first, second, ... element; the last is for all that follow."""

    laws: tuple["Expr", ...]


Expr = (
    Number | String | Name | Index | Where | Call | Attribute | Unary | Binary | IfElse | Comprehension | Length | ListOf | Then
)


# ---- types


@dataclass(frozen=True)
class Range(Node):
    """`-50..50` in `real[-50..50]`, both ends included."""

    low: int
    high: int


@dataclass(frozen=True)
class TypeOf(Node):
    """`real[D]`, `token[V]*`, `simplex[K]`, `index[plate]`."""

    domain: str
    args: tuple[Expr | Range, ...]
    star: bool


@dataclass(frozen=True)
class Named(Node):
    """`name: type`, an argument or a head of a net."""

    name: str
    type: TypeOf


# ---- statements


@dataclass(frozen=True)
class Size(Node):
    """`size K = 8`, `size D`."""

    name: Name
    value: Expr | None


@dataclass(frozen=True)
class Vocab(Node):
    """`vocab EN(min_count=2)`."""

    name: Name
    options: tuple[Keyword, ...]


@dataclass(frozen=True)
class Embedding(Node):
    """`embedding E(V, 300, from="vectors.txt", frozen)`."""

    name: Name
    args: tuple[Expr, ...]
    kwargs: tuple[Keyword, ...] = ()


@dataclass(frozen=True)
class Param(Node):
    """`param mu : real = 2.5`; value None where no start is written."""

    name: Name
    type: TypeOf
    value: Expr | None = None


@dataclass(frozen=True)
class Stage(Node):
    """One layer of a trunk; `(linear(50) ~ Normal(0, 1))` gives its weights a prior of their own."""

    call: Call
    prior: Expr | None


@dataclass(frozen=True)
class Net(Node):
    """`net name(args) -> heads = stage |> stage ~ prior`; one unnamed head is Named with name ''."""

    name: Name
    args: tuple[Named, ...]
    heads: tuple[Named, ...]
    trunk: tuple[Stage, ...]
    prior: Expr | None


@dataclass(frozen=True)
class Variable(Node):
    role: Literal["observed", "latent", "given", "partial"]
    name: Name
    type: TypeOf
    law: Expr | None
    of: Expr | None = None  # x[*], of which a whole stretch consists


@dataclass(frozen=True)
class Let(Node):
    """value: a Then of a chain's first, second, ... value where it reads its own past."""

    name: Name
    value: Expr
    type: TypeOf | None = None


@dataclass(frozen=True)
class Stretches(Node):
    """`of t(longest=30)` in `chain s of t(longest=30):`."""

    of: Name
    settings: tuple[Expr | Keyword, ...]


@dataclass(frozen=True)
class Plate(Node):
    """`plate k[K]:` or `chain t:`; head_span covers the line that opens it. `plate d[4]` alone has no body. stretches: of which
    elements a chain's are consecutive stretches, where they are such."""

    kind: Literal["plate", "chain"]
    name: Name
    size: Expr | None
    body: tuple["Statement", ...]
    head_span: Span
    stretches: Stretches | None = None


@dataclass(frozen=True)
class GuideLaw(Node):
    """`z ~ Normal(encode(x[*]))` inside `guide:`."""

    name: Name
    law: Expr


@dataclass(frozen=True)
class GuideLet(Node):
    """`let h = encode(x[*])` inside `guide:`."""

    name: Name
    value: Expr


@dataclass(frozen=True)
class GuideAuto(Node):
    """`auto(full_rank)` inside `guide:`."""

    call: Call


@dataclass(frozen=True)
class Guide(Node):
    entries: tuple[GuideLaw | GuideLet | GuideAuto, ...]


@dataclass(frozen=True)
class InferLaw(Node):
    """`f : exact up to 2^16 else score(samples=8)`; an estimator without arguments is a Name."""

    name: Name
    estimator: Call | Name
    budget: Expr | None
    otherwise: Call | Name | None


@dataclass(frozen=True)
class Infer(Node):
    entries: tuple[InferLaw, ...]


@dataclass(frozen=True)
class Schedule(Node):
    """`kl from 0 to 1 over 10 epochs`."""

    name: Name
    start: Expr
    stop: Expr
    over: Expr
    unit: Literal["epochs", "steps"]


@dataclass(frozen=True)
class Names(Node):
    """`mu, encode` in `fixed : mu, encode`: two or more."""

    items: tuple[Name, ...]


@dataclass(frozen=True)
class Amount(Node):
    """`4096 tokens`."""

    number: Expr
    unit: Literal["tokens"]


@dataclass(frozen=True)
class FitEntry(Node):
    """`optimizer : adam(lr=1e-3)`, `clip : 5`."""

    key: Name
    value: Expr | Schedule | Names | Amount


@dataclass(frozen=True)
class Fit(Node):
    entries: tuple[FitEntry, ...]


Statement = Size | Vocab | Embedding | Param | Net | Variable | Let | Plate | Guide | Infer | Fit


@dataclass(frozen=True)
class Tree:
    """A whole file. `comments` maps a line number to the comment on it, for the formatter."""

    source: Source
    body: tuple[Statement, ...]
    comments: tuple[tuple[int, str], ...]
