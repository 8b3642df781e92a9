"""The flow through a trunk: what layers receive and replace, as pieces of Python text with their sizes.

A part is one tensor: (*B, width), or (*B, T, width) where it is a sequence. Parts that have not met yet stay apart, because a
linear layer of several inputs is the sum of one layer each, which broadcasts where a concatenation would copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vispec.model.types import Dim
from vispec.torch.nets.code import Line, NetWriter, ceiling, plus, times, unwrapped


@dataclass(frozen=True)
class Part:
    """text: a Python primary. arg: the argument it comes from, "" once several have met.

    card: it still is integers (*B, *shape), of this many values. shape: event dimensions not yet flattened into one.
    sequence: it has a time axis that layers may pool. stepped: in `prefixes`, it has that axis as one more leading one.
    counted: if this is how often each integer below `width` occurs in the text's sequence, the text of its mask. two_way: its
    states were read from both sides. mean_of: texts of a sequence and its mask, of which this is the mean."""

    text: str
    width: Dim
    arg: str = ""
    card: Dim | None = None
    shape: tuple[Dim, ...] = ()
    sequence: bool = False
    stepped: bool = False
    two_way: bool = False
    counted: str = ""
    mean_of: tuple[str, str] | None = None

    @property
    def timed(self) -> bool:
        return self.sequence or self.stepped


@dataclass
class Stream:
    """mask: text of the sequence's mask, "None" if it has none. suffix: ends the names of its layers.

    prefixes: the method at hand gives outputs for all prefixes. next: for one more, of which the sequence is the last element
    alone; `kept` holds what was read before, under names that begin with the net's, `name`. causal: nothing may read ahead, as
    some method does that.
    moved: position i of the sequence holds what stands before i. late: sequence arguments that hold what stands at i all along.
    layer, position: the stage at hand. following: the layer after it. holes: some call chooses among the elements.
    starred: the net's outputs are sequences. known: text of the sequence's counts or None, where the net has such an argument.
    prior: mean and deviation of each weight of the layer at hand, None for plain parameters. memory: the sequence that is
    looked up.
    """

    net: NetWriter
    parts: list[Part]
    mask: str
    prefixes: bool = False
    next: bool = False
    name: str = ""
    causal: bool = False
    moved: bool = False
    late: frozenset[str] = frozenset()
    suffix: str = ""
    layer: str = ""
    position: int = 0
    following: str = ""
    holes: bool = False
    starred: bool = False
    known: str = ""
    prior: tuple[float, float] | None = None
    memory: "Stream | None" = field(default=None)

    @property
    def sequence(self) -> bool:
        return any(part.sequence for part in self.parts)

    @property
    def timed(self) -> bool:
        return any(part.timed for part in self.parts)

    # ---- sizes

    @staticmethod
    def sum(*dims: Dim) -> Dim:
        return plus(*dims)

    @staticmethod
    def product(*dims: Dim) -> Dim:
        return times(*dims)

    @staticmethod
    def ceiling(dim: Dim, divisor: int) -> Dim:
        return ceiling(dim, divisor)

    # ---- pieces of text

    def module(self, text: str, hint: str = "", role: object = "") -> str:
        """`self.name` of a submodule of this layer."""
        return self.net.attribute((self.position, self.suffix, role), (hint or self.layer) + self.suffix, text)

    def kernel(self, module: str, name: str) -> str:
        return self.net.kernel(module, name)

    def kept(self, module: str) -> tuple[str, str]:
        """Where a layer keeps what it has read."""
        return "kept", f'"{self.name}.{module.removeprefix("self.")}"'

    def set(self, text: str, width: Dim, *, two_way: bool = False) -> None:
        """One part is all there is from now on; long text goes on a line of its own."""
        stepped = any(part.stepped for part in self.parts)
        self.parts = [self.held(Part(text, width, sequence=self.sequence, stepped=stepped, two_way=two_way))]

    def replace(self, text: str, width: Dim, sequence: bool) -> None:
        """All parts are gone for one that says itself whether it is a sequence."""
        self.parts = [self.held(Part(text, width, sequence=sequence))]

    def found(self, text: str, width: Dim) -> Part:
        """A new sequence to set beside the parts that stay."""
        return self.held(Part(text, width, sequence=True))

    def through(self, module: str, part: Part, width: Dim) -> Part:
        """What a module makes of one part."""
        return self.held(replace(part, text=f"{module}({unwrapped(part.text)})", width=width, shape=()))

    def held(self, part: Part, limit: int = 60) -> Part:
        """The part under a name if its text is longer than `limit`, and no name already."""
        if len(part.text) <= limit or part.text.isidentifier():
            return part
        shape = f"({', '.join(['*B', *(['1' if self.next else 'T'] if part.timed else []), str(part.width)])})"
        return replace(part, text=self.net.let("h" + self.suffix, part.text, shape))

    def cost(self, *dims: Dim, timed: bool) -> None:
        """Multiply-adds of one row; of each of its T elements (S in the memory) where `timed`."""
        self.net.madds.append(str(times(*dims, *(["S" if self.suffix else "T"] if timed else []))))

    # ---- parts into vectors

    def vector(self, part: Part) -> Part:
        """Integers as one-hot vectors, event dimensions flattened."""
        if part.counted:
            of = f"{part.text}, {self.net.size(part.width)}, {part.counted}, self.out.weight"
            text = f"{self.kernel('counts', 'count_values')}({of})"
            text = f"{text} if {self.known} is None else {self.known}" if self.known else text
            return self.held(replace(part, text=text, counted=""), limit=0)
        if part.card is not None:
            text = f"{self.kernel('sequence', 'one_hot')}({part.text}, {self.net.size(part.card)}, self.out.weight)"
            part = replace(part, text=text, width=part.card, card=None, shape=(*part.shape, part.card) if part.shape else ())
        if len(part.shape) > 1:
            part = replace(part, text=f"{part.text}.flatten(-{len(part.shape)})", width=times(*part.shape))
        return replace(part, shape=())

    def beside(self, part: Part, timed: bool) -> str:
        """The part's text, with a singleton time axis where it goes beside a sequence."""
        return f"{part.text}.unsqueeze(-2)" if timed and not part.timed else part.text

    def joined(self, parts: Sequence[Part] | None = None) -> Part:
        """All parts side by side as one."""
        vectors = [self.vector(part) for part in (self.parts if parts is None else parts)]
        if len(vectors) == 1:
            return vectors[0]
        timed = any(part.timed for part in vectors)
        texts = [self.beside(part, timed) for part in vectors]
        text = f"{self.kernel('sequence', 'concatenate')}({', '.join(texts)})"
        sequence, stepped = any(part.sequence for part in vectors), any(part.stepped for part in vectors)
        return self.held(Part(text, plus(*(part.width for part in vectors)), sequence=sequence, stepped=stepped))

    def flatten(self) -> Part:
        """Join all parts and keep the result."""
        self.parts = [self.joined()]
        return self.parts[0]

    # ---- linear layers

    def linear(self, width: Dim) -> tuple[str | None, str]:
        """The first linear layer of this layer: its constructor text if it has one input, and what to feed the layer's module.

        With several inputs each has a linear layer as an attribute of its own, and what is fed is their sum."""
        parts = [part if self.looked_up(part) else self.vector(part) for part in self.parts]
        if len(parts) == 1 and not parts[0].counted:
            return self.linear_text(parts[0], width), unwrapped(parts[0].text)
        biased = next((part for part in parts if part.card is None), None)
        terms = []
        for i, part in enumerate(parts):
            hint = f"from_{part.arg or self.layer}"
            layer = self.module(self.linear_text(part, width, bias=part is biased), hint, role=i)
            told = ", ".join(filter(None, (part.text, part.counted, self.known))) if part.counted else part.text
            terms.append(self.beside(replace(part, text=f"{layer}({told})"), self.timed))
        return None, " + ".join(terms)

    def looked_up(self, part: Part) -> bool:
        """Whether its linear layer adds up rows of a table."""
        return (part.card is not None and not part.shape) or (bool(part.counted) and self.prior is None)

    def linear_text(self, part: Part, width: Dim, bias: bool = True) -> str:
        if part.card is not None:  # a lookup
            if self.prior is None:
                return f"{self.kernel('dense', 'OneHotLinear')}({part.card}, {width})"
            loc, scale = self.prior
            return f"{self.kernel('bayesian', 'RandomOneHotLinear')}({part.card}, {width}, {loc}, {scale})"
        if part.counted:
            self.net.madds.append(str(times("T", width)))
            return f"{self.kernel('dense', 'CountLinear')}({part.width}, {width}{'' if bias else ', bias=False'})"
        self.cost(part.width, width, timed=part.timed)
        return self.affine(part.width, width, bias)

    def affine(self, inputs: Dim, outputs: Dim, bias: bool = True) -> str:
        """A linear layer's constructor text, its weights random if they have a prior."""
        end = "" if bias else ", bias=False"
        if self.prior is None:
            return f"nn.Linear({inputs}, {outputs}{end})"
        loc, scale = self.prior
        return f"{self.kernel('bayesian', 'RandomLinear')}({inputs}, {outputs}, {loc}, {scale}{end})"

    # ---- sequences

    def sequence_parts(self) -> tuple[list[Part], list[Part]]:
        """Parts that are sequences, and the others."""
        return [p for p in self.parts if p.sequence], [p for p in self.parts if not p.sequence]

    def start(self) -> None:
        """Before a layer that mixes positions: from here on a causal net's position i holds what stands before i.

        A learned vector stands before the first element, in a whole sequence too, which so grows by one."""
        if not self.causal or self.moved:
            return
        sequences, others = self.sequence_parts()
        late = [part for part in sequences if part.arg in self.late]
        x = self.joined([part for part in sequences if part not in late])
        start = self.net.attribute(("start",), "start", f"nn.Parameter(torch.zeros({x.width}))")
        if self.prefixes:
            function = self.kernel("steps", "or_start") if self.next else self.kernel("sequence", "after_start")
            x = self.held(replace(x, text=f"{function}({x.text}, {start})"))
        else:
            function = self.kernel("sequence", "with_start")
            name = f"h{self.suffix}__{len(self.net.lines)}"
            line = Line((name, self.mask), f"{function}({x.text}, {start}, {self.mask})", f"(*B, 1 + T, {x.width})")
            self.net.lines.append(line)
            x = replace(x, text=name)
        self.parts, self.moved = [x, *late, *others], True

    def pool(self, text: str, width: Dim, others: Sequence[Part]) -> None:
        """The sequence has become one vector, or in `prefixes` one for each position, beside the other parts."""
        beside = [replace(part, text=self.beside(part, self.prefixes), stepped=self.prefixes) for part in others]
        self.parts = [self.held(Part(text, width, stepped=self.prefixes)), *beside]

    def read_last(self) -> None:
        """A sequence that nothing pools is read at its last element; states from both sides, at their ends."""
        if not self.sequence:
            return
        self.start()
        sequences, others = self.sequence_parts()
        x = self.joined(sequences)
        if self.prefixes:
            self.pool(x.text, x.width, others)
        else:
            function = self.kernel("sequence", "both_ends" if x.two_way else "last")
            self.pool(f"{function}({x.text}, {self.mask})", x.width, others)
