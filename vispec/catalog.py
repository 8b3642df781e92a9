"""What one file adds: distributions, laws of laws, network layers, functions, steps, commands; and how they are found."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal


@dataclass(frozen=True)
class Distribution:
    """A distribution as the language knows it.

    params: name → domain it must lie in ("real", "positive", "unit", "simplex", "cholesky", "count", "ordered").
    optional: params that may be left out, all or none.
    support: the domain of its values; "index" stands for any finite scalar (category, token, index).
    other_supports: further domains it is a law on; where it has optional params, with these left out.
    event_dim: rank of one draw; params and values of higher rank are independent along the extra dimensions and summed.
    param_event_dim: rank of each param where it is not event_dim (Categorical's probs has 1).
    forms: the form in which the emitted kernel takes a param: "value" (default), "logit" (log-odds of a unit), "log"
           (normalised log-probabilities of a simplex), "logs" (of a unit two tensors, log p and log(1 - p)).
    wide: params that the kernel takes in float64 whatever the module's dtype, their form computed in it: where a value of 1e7
          is counted, an error of 1e-7 in log p is one of 1 in the result.
    once: whether torch's rsample has a first derivative only, and is silent about it.
    program: `program(value, own, **params)` builds log p on the tensor program where it is made of its operations, event
           dimensions apart; own: param → its event axes. It goes before the kernel.
    potentials: of a law over a structure, `potentials(params, plate, state)` builds what each of its parts adds to a value's
           score, along the plate and the part's values; the structure's own sum normalises it.
    chained: of a law on labels, `chained(value, before, own, **params)` builds what one element's label adds to the score given
           the label before it: what reads both, and what reads its own. A chain's sum normalises it. elements: the params of
           which there is one for each element.
    productions: of a law on parses or stretches, `productions(params, name, longest)` builds the logarithms of its tables, such
           as a grammar's rules, by name, over axes of their own (a parent and its two children), which it gives too; longest:
           that of the lengths of stretches. The sum over all values is their structure's.
    spans: of a law on trees of labelled stretches, `spans(params, first, last, label)` builds the score of each label over each
           stretch, on these axes; the sum over all trees normalises it.
    decisions: of a law on trees whose elements decide what hangs from them, `decisions(params, name, plate)` builds the
           logarithm of the probability of each decision of each element, along the plate and axes of its own, which it gives
           too. Such a law is one on trees of all numbers of elements, and may read what each element is given its head.
    says: of a law on a structure, what each of its values is, of the options that laws on them have.
    path: `path(noise, **params)` builds a draw with a gradient of noise(kind), "normal" or "uniform" numbers.
    divergences: prior → `(q's params, p's params)` that builds KL(q ‖ p) of a guide of this law where torch's is not wanted.
    kernel: name of the function in the entry's module, `log_prob(value, *params)`, copied into the emitted module by
           inspect.getsource; elementwise over leading axes, returns log-density with its event dimensions reduced to event_dim
           = 0 (extra dimensions are summed by the emitter). Params are tensors, () at least. None:
           torch_class(**params).log_prob(value) is emitted.
    natural: a kernel, by file and name, that gives const (*K,), weight (*K, T) and statistics (*B, T) of which const + weight ·
           statistics is log p of vectors (*B, D) under params (*K, D) each.
    log_cdf, log_survival: `log P(X ≤ value)` and `log P(X > value)`, of the same arguments as the kernel and copied like it, of
           laws on single numbers: exact far into both tails. None: it cannot be censored or truncated.
    torch_class: its name in torch.distributions, used to sample (and for log_prob without a kernel).
    sampler: `sampler(*params)` where there is no torch_class to sample from, copied like the kernel.
    start: `start(value, ...)` finds where a fit of all params may begin, as a tuple in their order, from a sample's elements
           (N, *event), N > 0; copied like the kernel. It is equivariant where the law is a scale or location family, strictly
           inside the params' domains, and nan where the sample does not tell. Params that must be known are arguments of the
           same name, for each element; `size` is the number of values of a finite type.
    shape_params: keyword of torch_class → the event dimension of the value whose size it is (LKJCholesky's dim: -1).
    size_delta: param → how much longer its last dimension is than that of the value (LogisticNormal's loc: -1).
    everywhere: whether each value of its support's domain has a density above 0, whatever the params.
    bounds: the params that are the lower and the upper end of its values within that domain, None where there is none; a guide
           has the same ends.
    turn: of a law on a circle, the length of one turn.
    inside: further domains it is a law on where its bounds lie in them.
    carry: `carry(x, *rest)` where a draw is made of x ~ Normal by the first two params, loc and scale: the value and
           log |d value / d x|, elementwise; rest: the other params. Copied like the kernel; a guide's draws are so made and
           scored, without the rounding of the inverse.
    atoms: values that have a mass of their own, beside the density of all others.
    proper: whether its mass is one.
    written: whether a spec may name it; if not, it is what the laws of several lines come to together.
    examples: params for the law tests.
    modifier, law: of a law of a law (`composed`), the modifier and the law inside.
    """

    name: str
    params: Mapping[str, str]
    support: str
    optional: tuple[str, ...] = ()
    other_supports: tuple[str, ...] = ()
    event_dim: int = 0
    param_event_dim: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, Literal["value", "logit", "log", "logs"]] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    has_rsample: bool = False
    once: bool = False
    torch_class: str | None = None
    program: Callable[..., Any] | None = None
    potentials: Callable[..., Any] | None = None
    chained: Callable[..., Any] | None = None
    elements: tuple[str, ...] = ()
    productions: Callable[..., Any] | None = None
    spans: Callable[..., Any] | None = None
    decisions: Callable[..., Any] | None = None
    says: tuple[tuple[str, bool | str], ...] = ()
    path: Callable[..., Any] | None = None
    divergences: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    kernel: Callable[..., Any] | None = None
    natural: str | None = None
    log_cdf: Callable[..., Any] | None = None
    log_survival: Callable[..., Any] | None = None
    sampler: Callable[..., Any] | None = None
    start: Callable[..., Any] | None = None
    shape_params: Mapping[str, int] = field(default_factory=dict)
    size_delta: Mapping[str, int] = field(default_factory=dict)
    everywhere: bool = True
    bounds: tuple[str | None, str | None] = (None, None)
    turn: float | None = None
    inside: tuple[str, ...] = ()
    carry: Callable[..., Any] | None = None
    atoms: tuple[float, ...] = ()
    proper: bool = True
    written: bool = True
    examples: tuple[Mapping[str, Any], ...] = ()
    modifier: "Modifier | None" = None
    law: "Distribution | None" = None

    @property
    def structured(self) -> bool:
        """Whether it is on the values of a structure, which sums, draws and scores them."""
        return any((self.potentials, self.productions, self.spans, self.chained, self.decisions))

    def takes_logits(self, name: str, form: str) -> bool:
        """Whether torch takes a param that is in this form as `logits`."""
        return form in {"log": ("logits", "log"), "logit": ("logit",), "logs": ("logit",)}.get(
            self.forms.get(name, "value"), ()
        )


LOW, HIGH = "lower", "upper"
"""The names of a modifier's bounds among the params of the composed law, beside those of the law inside."""
BOUNDS = {"low": LOW, "high": HIGH}
"""What the language calls them."""


@dataclass(frozen=True)
class Modifier:
    """A law of a law on numbers, `Name(law, low, high)`, of which one bound may be left out.

    kernel: `log_prob(value, law, *params, low, high, whole)`, law the kernels log_prob, log_cdf and log_survival of the law
            inside and params its own, in their forms; whole: its values are whole numbers. Copied like a distribution's.
    sampler: `sampler(law, *params, low, high, whole)`, a draw without a gradient.
    masses: its bounds have masses. ends: its values lie between its bounds."""

    name: str
    kernel: Callable[..., Any]
    sampler: Callable[..., Any]
    masses: bool = False
    ends: bool = False


def composed(modifier: Modifier, law: Distribution, bounds: tuple[str, ...]) -> Distribution:
    """The law of a law as a distribution, with the bounds (LOW, HIGH) that are there; its name tells all three."""
    assert not {LOW, HIGH} & law.params.keys()
    own = tuple(bound if bound in bounds else None for bound in (LOW, HIGH))
    inside = law.inside
    if modifier.ends and law.support == "real" and LOW in bounds:
        inside = ("positive", "unit") if HIGH in bounds else ("positive",)
    elif modifier.ends and law.support == "positive" and HIGH in bounds:
        inside = ("unit",)
    return replace(
        law,
        name=f"{modifier.name}({', '.join((law.name, *(word for word in BOUNDS if BOUNDS[word] in bounds)))})",
        params={**law.params, **dict.fromkeys(bounds, "real")},
        optional=(),
        other_supports=() if law.optional else law.other_supports,
        program=None,
        path=None,
        natural=None,
        divergences={},
        kernel=modifier.kernel,
        log_cdf=None,
        log_survival=None,
        torch_class=None,
        sampler=None,
        start=None,
        has_rsample=False,
        carry=None,
        everywhere=False,
        bounds=tuple(new or old for new, old in zip(own, law.bounds, strict=True)) if modifier.ends else law.bounds,
        inside=inside,
        examples=(),
        modifier=modifier,
        law=law,
    )


@dataclass(frozen=True)
class Option:
    """A literal setting of a layer.

    kind: "count" a positive whole number; "size" that or a size's name; "sizes" a list of sizes, or one; "table" the name of an
    embedding, "embedding" that or a size; "fraction" in [0, 1); "flag" a boolean, also set by its bare name; "choice" one of
    `choices`; "argument" a name of one of the net's arguments; "text".
    """

    kind: Literal["count", "size", "sizes", "table", "embedding", "fraction", "flag", "choice", "argument", "text"]
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A layer of a trunk as the language knows it.

    options: in the order in which settings without a name fill them.
    open_options: it takes further keywords as they come (python).
    sequence: it works along the time axis ("sequence"), on each element by itself ("element"), on images or sequences ("both").
    pools: it turns a sequence into one vector.
    ordered: its result depends on the order of a sequence's elements.
    causal: False if it reads elements ahead even where the net is asked for prefixes; the name of an option if it does so
            where that option is set; True otherwise.
    embeds: it needs an argument that still is integers. memory: of several sequence arguments it looks things up in the last;
            the name of an option if it does so where that option is set.
    outputs: it stands in the place of the layer behind the trunk, which gives the heads.
    steps: where it works along the time axis, whether a causal one can also be asked for one element more (Stream.next).
    learns: it takes something from a batch of data before the fit.
    linear: whether its result is linear in its input; the name of an option if it is so where that option is empty.
    problem: `problem(position, **options)` says what is wrong with its settings at that place in a trunk, or None.
    emit: `emit(stream, **options)` replaces the parts of an emit.nets.stream.Stream by its own output.
    """

    name: str
    emit: Callable[..., None]
    options: Mapping[str, Option] = field(default_factory=dict)
    open_options: bool = False
    sequence: Literal["element", "sequence", "both"] = "element"
    pools: bool = False
    ordered: bool = False
    causal: bool | str = True
    embeds: bool = False
    outputs: bool = False
    memory: bool | str = False
    steps: bool = False
    learns: bool = False
    linear: bool | str = False
    problem: Callable[..., str | None] | None = None


@dataclass(frozen=True)
class Command:
    """A command of the CLI: a click command under its own name."""

    name: str
    command: Any


class Entries(Mapping[str, Any]):
    """The ENTRY of each module of a package and of the folders in it, by name, in the order of the file names; of a package in
    several places (its `__path__`), one place after the other.

    A name is read from its file's text, and the file imported when its entry is first asked for: `check` needs few of them.
    """

    def __init__(self, package: ModuleType):
        self._modules: dict[str, str] = {}
        self._loaded: dict[str, Any] = {}
        files = [(place, path) for place in package.__path__ for path in sorted(Path(place).rglob("*.py"))]
        for place, path in files:
            found = re.search(r"^ENTRY = \w+\(\s*(?:name=)?\"(\w+)\"", path.read_text(encoding="utf-8"), re.MULTILINE)
            if found is None:
                continue
            name = found.group(1)
            if name in self._modules:
                raise ImportError(f"two entries named {name!r} in {package.__name__}")
            parts = path.relative_to(place).with_suffix("").parts
            self._modules[name] = ".".join((package.__name__, *parts))

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = import_module(self._modules[name]).ENTRY
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


class Laws(Entries):
    """The distributions, and by the name that `composed` gives them laws of these."""

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded and name.endswith(")"):
            modifier, rest = name[:-1].split("(")
            law, *words = rest.split(", ")
            self._loaded[name] = composed(modifiers()[modifier], self[law], tuple(BOUNDS[word] for word in words))
        return super().__getitem__(name)


def discover(package: ModuleType) -> Mapping[str, Any]:
    """The entries of a package; raises ImportError where two have one name."""
    return Entries(package)


@cache
def distributions() -> Mapping[str, Distribution]:
    """All distributions, by name."""
    import vispec.distributions

    return Laws(vispec.distributions)


@cache
def written_laws() -> Mapping[str, Distribution]:
    """Those that a spec may name."""
    return {name: entry for name, entry in distributions().items() if entry.written}


@cache
def modifiers() -> Mapping[str, Modifier]:
    """All laws of laws, by name."""
    import vispec.modifiers

    return discover(vispec.modifiers)


@cache
def networks() -> Mapping[str, Network]:
    """All layers of trunks, by name."""
    import vispec.networks

    return discover(vispec.networks)
