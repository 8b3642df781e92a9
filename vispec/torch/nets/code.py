"""What is known of one net's class while its layers are emitted: attributes, lines, kernels, costs."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from math import prod

from vispec.model.types import Dim
from vispec.torch.nets.words import size_name

MODULE_NAMES = frozenset(
    re.findall(
        r"\w+",
        """add_module apply bfloat16 bool buffers call_super_init children compile cpu cuda double dump_patches elements
        eval extra_repr features float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict
        memory_features modules mtia named_buffers named_children named_modules named_parameters next next_features of_elements
        out parameters prefix_features prefixes register_buffer register_module register_parameter requires_grad_
        set_extra_state set_submodule share_memory start state_dict to to_empty train training type xpu zero_grad""",
    )
)
"""Attributes that a layer of a net must not hide."""


@dataclass(frozen=True)
class Line:
    """`targets = text  # shape`."""

    targets: tuple[str, ...]
    text: str
    shape: str

    def code(self) -> list[str]:
        return assignment(", ".join(self.targets), self.text, f"  # {self.shape}")


@dataclass
class NetWriter:
    """attributes: name → constructor text, in order; owners: who asked for each. lines: of the method at hand.

    taken: names of its arguments; arguments: what a call with the same arguments would write between its parentheses.
    madds: terms of the cost of one row. mean_of: where layers follow a mean, the lines so far, their module, and texts of the
    sequence and its mask. memory: the method of what a net reads beside its prefix, in the mode "next". tables: of the model,
    by their names in the spec, as the constructor takes them. last: text of the layer of the heads, where a stage says it."""

    attributes: dict[str, str] = field(default_factory=dict)
    owners: dict[tuple[object, ...], str] = field(default_factory=dict)
    kernels: dict[tuple[str, str], None] = field(default_factory=dict)
    imports: dict[str, None] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    arguments: tuple[str, ...] = ()
    madds: list[str] = field(default_factory=list)
    mean_of: tuple[list[Line], str, str, str] | None = None
    memory: list[str] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    last: str = ""

    def attribute(self, owner: tuple[object, ...], hint: str, text: str) -> str:
        """`self.name` of the submodule or parameter that `owner` asks for; made by the first call, known to the others."""
        if owner not in self.owners:
            self.owners[owner] = name = free(hint, self.attributes.keys() | (MODULE_NAMES - {owner[0]}))
            self.attributes[name] = text
        return f"self.{self.owners[owner]}"

    def taken_table(self, name: str) -> str:
        """A table of the model, as the constructor gets it."""
        return self.tables.setdefault(name, size_name(name))

    def table(self, name: str) -> str:
        """`self.name` of a table of the model that methods read."""
        return self.attribute(("table", name), name, f"{self.kernel('tables', 'Shared')}({self.taken_table(name)})")

    def kernel(self, module: str, name: str) -> str:
        """The name of a definition in vispec.kernels.layers that the emitted file shall hold."""
        self.kernels[f"vispec.kernels.layers.{module}", name] = None
        return name

    def size(self, dim: Dim) -> str:
        """A size as methods read it, from an attribute that the constructor keeps."""
        return re.sub(r"[A-Za-z_]\w*", self.kept, str(dim))

    def kept(self, name: re.Match[str]) -> str:
        return self.attribute(("size", name.group()), name.group(), name.group())

    def let(self, hint: str, text: str, shape: str) -> str:
        """Assign to a local name of its own; `body` finds out which may be one and the same."""
        name = f"{hint}__{len(self.lines)}"
        self.lines.append(Line((name,), text, shape))
        return name

    def body(self, result: str) -> list[str]:
        """The lines and the return. Names are used again once what they held is not needed."""
        if self.lines and self.lines[-1].targets == (result,) and len(self.lines[-1].text) < 100:
            result = self.lines.pop().text
        texts = [*(line.text for line in self.lines), result]
        chosen: dict[str, str] = {}
        for i, line in enumerate(self.lines):
            for target in line.targets:
                later = set(re.findall(r"\w+", " ".join(texts[i + 1 :])))
                alive = {name for local, name in chosen.items() if local in later}
                chosen[target] = free(target.split("__")[0], self.taken | alive) if "__" in target else target
        rename = partial(re.sub, r"\w+__\d+", lambda m: chosen[m.group()])
        named = [Line(tuple(map(rename, line.targets)), rename(line.text), line.shape) for line in self.lines]
        return [*(part for line in named for part in line.code()), f"return {unwrapped(rename(result))}"]


def assignment(target: str, text: str, comment: str = "") -> list[str]:
    """One line, or a line for each argument of the call where that is too long, and for each term of a long sum there or in
    brackets."""
    if len(target) + len(text) + len(comment) < 115 or not text.endswith(")"):
        return [f"{target} = {text}{comment}"]
    if text.startswith("("):
        first, *others = top_level(unwrapped(text), "+")
        return [f"{target} = (", f"    {first}", *(f"    + {term}" for term in others), f"){comment}"]
    function, inside = text[:-1].split("(", 1)
    items = [line for item in top_level(inside) for line in terms(item + ",")]
    return [f"{target} = {function}(", *(f"    {line}" for line in items), f"){comment}"]


def terms(text: str) -> list[str]:
    """A line for each term of a sum that is too long for one."""
    if len(text) < 110:
        return [text]
    first, *others = top_level(text, "+")
    return [first, *(f"+ {term}" for term in others)]


def top_level(text: str, separator: str = ",") -> list[str]:
    """Split at the separators outside all parentheses."""
    items, depth = [""], 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if c == separator and not depth:
            items.append("")
        else:
            items[-1] += c
    return [item.strip() for item in items]


def unwrapped(text: str) -> str:
    """Without parentheses around the whole."""
    if not text.startswith("("):
        return text
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if not depth:
            return text[1:-1] if i == len(text) - 1 else text
    return text


def free(hint: str, taken: set[str]) -> str:
    """The hint, numbered from 2 where it is taken."""
    name, count = hint, 2
    while name in taken:
        name, count = f"{hint}{count}", count + 1
    return name


# ---- sizes as text


def python_size(dim: Dim) -> Dim:
    """A size with its names as the constructor's arguments."""
    return dim if isinstance(dim, int) else re.sub(r"[A-Za-z_]\w*", lambda m: size_name(m.group()), dim)


def plus(*dims: Dim) -> Dim:
    """The sum as a number or text, numbers added up and equal terms counted."""
    number = sum(dim for dim in dims if isinstance(dim, int))
    texts = Counter(dim for dim in dims if not isinstance(dim, int))
    terms = [term if count == 1 else f"{count} * {atom(term)}" for term, count in texts.items()]
    return " + ".join([*terms, *([str(number)] if number else [])]) if terms else number


def times(*dims: Dim) -> Dim:
    """The product as a number or text, numbers multiplied."""
    number = prod(dim for dim in dims if isinstance(dim, int))
    texts = [atom(dim) for dim in dims if not isinstance(dim, int)]
    return " * ".join([*([str(number)] if number != 1 else []), *texts]) if texts else number


def ceiling(dim: Dim, divisor: int) -> Dim:
    """⌈dim / divisor⌉."""
    if isinstance(dim, int) or divisor == 1:
        return dim if isinstance(dim, str) else -(-dim // divisor)
    return f"-(-{atom(dim)} // {divisor})"


def atom(dim: Dim) -> str:
    return str(dim) if re.fullmatch(r"\w+", str(dim)) else f"({dim})"


def names_in(texts: list[str]) -> list[str]:
    return [name for text in texts for name in re.findall(r"[A-Za-z_]\w*", text)]
