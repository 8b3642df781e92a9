"""What is known of one net's class while its layers are emitted: attributes, lines, kernels, costs."""

import re
from dataclasses import dataclass, field
from math import prod

from vispec.emit.writer import identifier
from vispec.model.types import Dim

MODULE_NAMES = frozenset(
    "add_module apply bfloat16 bool buffers call_super_init children compile cpu cuda double dump_patches eval extra_repr "
    "features float forward get_buffer get_extra_state get_parameter get_submodule half heads ipu load_state_dict modules mtia "
    "named_buffers named_children named_modules named_parameters out parameters prefix_features prefixes register_buffer "
    "register_module register_parameter requires_grad_ set_extra_state set_submodule share_memory start state_dict to to_empty "
    "train training type xpu zero_grad".split()
)
"""Attributes that a layer of a net must not hide."""


@dataclass
class NetWriter:
    """attributes: name → constructor text, in order. lines: of the method at hand.
    arguments: what a call of the net with the same arguments would write between its parentheses. madds: terms of the cost of one row."""

    attributes: dict[str, str] = field(default_factory=dict)
    owners: dict[tuple[object, ...], str] = field(default_factory=dict)
    kernels: dict[tuple[str, str], None] = field(default_factory=dict)
    imports: dict[str, None] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    arguments: tuple[str, ...] = ()
    madds: list[str] = field(default_factory=list)

    def attribute(self, owner: tuple[object, ...], hint: str, text: str) -> str:
        """`self.name` of the submodule or parameter that `owner` asks for; made by the first call, known to the others."""
        if owner not in self.owners:
            self.owners[owner] = name = free(hint, self.attributes.keys() | (MODULE_NAMES - {owner[0]}))
            self.attributes[name] = text
        return f"self.{self.owners[owner]}"

    def kernel(self, module: str, name: str) -> str:
        """The name of a definition in vispec.kernels that the emitted file shall hold."""
        self.kernels[f"vispec.kernels.{module}", name] = None
        return name

    def let(self, hint: str, text: str, shape: str) -> str:
        """Assign to a local name, which layers may reassign."""
        name = next(n for n in (hint, f"{hint}_", f"{hint}__") if n not in self.taken)
        self.lines.append(f"{name} = {text}  # {shape}")
        return name


def free(hint: str, taken: set[str]) -> str:
    """The hint, numbered from 2 where it is taken."""
    name, count = hint, 2
    while name in taken:
        name, count = f"{hint}{count}", count + 1
    return name


# ---- sizes as text


def python_size(dim: Dim) -> Dim:
    """A size with its names as the constructor's arguments."""
    return dim if isinstance(dim, int) else re.sub(r"[A-Za-z_]\w*", lambda m: identifier(m.group()), dim)


def plus(*dims: Dim) -> Dim:
    """The sum as a number or text, numbers added up."""
    number = sum(dim for dim in dims if isinstance(dim, int))
    texts = [str(dim) for dim in dims if not isinstance(dim, int)]
    return " + ".join([*texts, *([str(number)] if number else [])]) if texts else number


def times(*dims: Dim) -> Dim:
    """The product as a number or text, numbers multiplied."""
    number = prod(dim for dim in dims if isinstance(dim, int))
    texts = [atom(dim) for dim in dims if not isinstance(dim, int)]
    return " * ".join([*([str(number)] if number != 1 else []), *texts]) if texts else number


def atom(dim: Dim) -> str:
    return str(dim) if re.fullmatch(r"\w+", str(dim)) else f"({dim})"


def names_in(texts: list[str]) -> list[str]:
    return [name for text in texts for name in re.findall(r"[A-Za-z_]\w*", text)]
