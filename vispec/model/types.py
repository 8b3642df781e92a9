"""Types of variables, parameters and expressions: a domain with an event shape whose sizes may still be symbols."""

from dataclasses import dataclass, field, replace
from typing import Literal

Domain = Literal[
    "real",
    "positive",
    "unit",
    "count",
    "bit",
    "category",
    "token",
    "index",
    "simplex",
    "ordered",
    "cholesky",
    "tree",
    "parse",
    "segments",
]

Dim = int | str
"""A size: a number, or Python text over names of sizes and vocabularies ("D", "2 * Z"), which are constructor arguments of the
emitted module. In an expression `|j|` is the size of ragged plate j, which differs from row to row. See dims.py."""

INTEGER_DOMAINS = frozenset(
    {"category", "token", "index", "tree", "parse", "segments"}
)  # int64 tensors; all others are floating point
DISCRETE_DOMAINS = INTEGER_DOMAINS | {"bit", "count"}
MISSING = {"positive": 1.0, "unit": 0.5, "simplex": 1.0}
"""What stands for a value that is not there, 0 in all other domains: in these, 0 has no finite log-density and gradient."""
WHOLE_DOMAINS = frozenset({"tree", "parse", "segments"})  # one value for all elements of a plate, which stands outside of it
WHAT = {"tree": "head", "parse": "preterminal", "segments": "label"}  # what an element has of each of these
FINITE_DOMAINS = INTEGER_DOMAINS - WHOLE_DOMAINS | {"bit"}  # one value has `card` possibilities, so a latent can be enumerated


@dataclass(frozen=True)
class Type:
    """`shape` is the event shape of one element; simplex[K] and ordered[K] have (K,), cholesky[D] has (D, D), scalars ().

    card: how many values a finite scalar takes: K for category[K], the vocabulary for token[V], 2 for bit; for index[p] the
          size of plate p, None where p is ragged.
    plate: p of index[p], tree[p], parse[p, NT, PT], of which card is PT and symbols NT, of parse[p, L], whose card is L and has
           no symbols apart, and of stretches of p, card labels.
    low, high: ends of a parameter's index range, real[-50..50]; its event shape is then (high - low + 1,).
    star: a sequence of such elements along a plate (`token[V]*`); `over` names the plate once that is known.
    labels: of a category whose values the spec names, in their order.
    element: of a parse or of labelled stretches, the type that an element's own label has.
    longest: of stretches, how many elements one has at most.
    whole_of: of what is said of whole stretches, (L,), of each length from an element on: the latent that says how they are
              cut, and the variable whose elements they consist of.
    along: p of labels[p, K], a category or token of which there is one for each element of p, with one law for all of them.
    """

    domain: Domain
    shape: tuple[Dim, ...] = ()
    card: Dim | None = None
    plate: str | None = None
    low: int | None = None
    high: int | None = None
    star: bool = False
    over: str | None = None
    labels: tuple[str, ...] | None = field(default=None, compare=False)
    symbols: Dim | None = None
    along: str | None = field(default=None, compare=False)
    element: "Type | None" = field(default=None, compare=False)
    longest: Dim | None = None
    whole_of: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def discrete(self) -> bool:
        return self.domain in DISCRETE_DOMAINS

    @property
    def support(self) -> str:
        """What a law on it is a law on: its domain, or the labels of a plate together; of parses by whether phrases have
        symbols of their own."""
        if self.domain == "parse" and self.symbols is None:
            return "spans"
        return self.domain if self.along is None else "labels"

    @property
    def stored(self) -> tuple[Dim, ...]:
        """The shape of what data have at one element: its event's; of a parse four numbers (kernels/trees/brackets.py)."""
        return (4,) if self.domain == "parse" else self.shape

    @property
    def whole(self) -> bool:
        """Whether a law is on the values of all elements of a plate together."""
        return self.domain in WHOLE_DOMAINS or self.along is not None

    def __str__(self) -> str:
        if self.along is not None:
            return f"labels[{self.along}, {str(replace(self, along=None)).split('[', 1)[1]}"
        if self.low is not None:
            inner = f"{self.low}..{self.high}"
        elif self.labels is not None and self.domain != "segments":
            inner = ", ".join(f'"{label}"' for label in self.labels)
        elif self.domain in ("category", "token"):
            inner = ", ".join(map(str, (self.card, *self.shape)))
        elif self.domain in ("index", "tree"):
            inner = str(self.plate)
        elif self.domain == "parse":
            inner = ", ".join(
                map(str, (self.plate, self.symbols, self.card) if self.symbols is not None else (self.plate, self.card))
            )
        elif self.domain == "segments":
            return f"{self.element} by stretches of {self.plate}"
        elif self.domain == "cholesky":
            inner = str(self.shape[0])
        else:
            inner = ", ".join(map(str, self.shape))
        return self.domain + (f"[{inner}]" if inner else "") + ("*" if self.star else "")
