"""Writes the body of one emitted method: a line a tensor, each with its axes, nothing computed twice."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from vispec.emit.value import Form, Value
from vispec.model.model import Expression, Law, Let, Model, Variable
from vispec.model.types import INTEGER_DOMAINS, MISSING, Dim
from vispec.plan.axes import Scope, element_plates
from vispec.torch.nets.words import RESERVED, identifier

__all__ = ["RESERVED", "identifier"]

class Writer:
    """Lines so far, and what is already computed. `scope` says how variables are held in this method."""

    def __init__(self, model: Model, scope: Scope, order: Sequence[str], module: "ModuleNeeds"):
        self.model, self.scope, self.order, self.needs = model, scope, tuple(order), module
        self.lines: list[str] = []
        self.cache: dict[object, object] = {}
        self.bound: dict[str, Value] = {}
        self.taken: set[str] = set(RESERVED)
        self.origin = "batch"  # the dict that data is read from
        self.elsewhere: frozenset[str] = frozenset()  # factors that another method computes
        self.joint_sums: dict[str, Callable[[bool], Value]] = {}  # steps that enumerate joint values, by output
        self.sample_count: str | None = None  # how many draws of a net's random weights, where they are drawn with each sample
        self.branches: tuple[Value, ...] = ()  # the tests of the branches that are being written
        self.samples = "1"  # how many draws there are, as text
        self.at: dict[str, str] = {}  # a chain's plate → the index of the element that a loop is at
        self.drawn_by: dict[str, Law] = {}  # what a loop drew → the law of it with the parameters that it had there, as bound

    # ---- lines and names

    def fresh(self, hint: str) -> str:
        base = identifier(re.sub(r"\W", "_", hint))
        name, count = base, 2
        while name in self.taken:
            name, count = f"{base}_{count}", count + 1
        self.taken.add(name)
        return name

    def line(self, text: str, value: Value | None = None) -> None:
        self.lines.append(f"{text}  # {value.shape()}" if value is not None and value.rank else text)

    def let(
        self,
        hint: str,
        code: str,
        axes: Sequence[str] = (),
        event: Sequence[Dim] = (),
        form: Form = "value",
        integer: bool = False,
    ) -> Value:
        """Assign `code` to a fresh name; the same code is assigned once."""
        known = self.cache.get(("code", code))
        if isinstance(known, Value):
            return replace(known, axes=tuple(axes), event=tuple(event), form=form)
        value = self.draw(hint, code, axes, event, form, integer)
        self.cache["code", code] = value
        return value

    def draw(
        self,
        hint: str,
        code: str,
        axes: Sequence[str] = (),
        event: Sequence[Dim] = (),
        form: Form = "value",
        integer: bool = False,
    ) -> Value:
        """Assign `code` to a fresh name, each time anew: draws of two variables under one law are two draws."""
        value = Value(self.fresh(hint), tuple(axes), tuple(event), form, integer=integer)
        self.line(f"{value.code} = {code}", value)
        return value

    def is_let(self, name: str) -> bool:
        return any(let.name == name for let in (*self.model.lets, *self.model.guide_lets))

    # ---- data, sizes, positions

    def data(self, name: str) -> Value:
        """A variable's tensor in the batch, padded with valid values where its density is not defined at 0."""
        if ("data", name) not in self.cache:
            variable = self.model.variable[name]
            integer = variable.type.domain in INTEGER_DOMAINS
            value = self.entry(name, element_plates(variable), variable.type.shape, integer)
            self.cache["data", name] = value
            self.cache["data", name] = self.without_padding(name, value)
        return self.cache["data", name]  # type: ignore[return-value]

    def entry(self, key: str, plates: Sequence[str], event: Sequence[Dim] = (), integer: bool = False) -> Value:
        """An entry of the batch, which has its plates as the variable's are nested, with them in the order of all tensors."""
        value = self.let(key, f'{self.origin}["{key}"]', plates, event, integer=integer)
        return self.arranged(key, value, self.sort(plates))

    def arranged(self, hint: str, value: Value, axes: Sequence[str]) -> Value:
        """The value with its axes in another order: in that of all tensors, or as its plates are nested."""
        if value.axes == tuple(axes):
            return value
        where = [*(str(value.axes.index(axis)) for axis in axes), *(str(-i) for i in range(len(value.event), 0, -1))]
        return self.let(hint, f"{value.code}.permute({', '.join(where)})", axes, value.event, value.form, value.integer)

    def nested(self, node: Variable | Let, value: Value) -> Value:
        """The value as it leaves the module: samples first, then its plates as they are nested."""
        plates = [plate for plate in element_plates(node) if plate in value.axes]
        return self.arranged(node.name, value, [*(axis for axis in value.axes if axis not in plates), *plates])

    def observed(self, name: str) -> Value:
        """Which cells of a partial variable the data has."""
        return self.entry(f"{name}_observed", element_plates(self.model.variable[name]))

    def without_padding(self, name: str, value: Value) -> Value:
        """Past a ragged end stands 0, where log-densities of these domains have no finite gradient."""
        neutral = MISSING.get(self.model.variable[name].type.domain)
        ragged = [axis for axis in value.axes if self.model.plate[axis].ragged]
        return value if neutral is None else self.where(name, value, map(self.inside, ragged), neutral)

    def where(self, hint: str, value: Value, masks: Iterable[Value], other: float) -> Value:
        """The value inside all masks, another number elsewhere."""
        from vispec.emit.value import align

        code = value.code
        for mask in masks:
            code += f".where({align(replace(mask, event=()), value.axes)}{'[..., None]' * len(value.event)}, {other})"
        return value if code == value.code else self.let(hint, code, value.axes, value.event, integer=value.integer)

    def known(self, name: str) -> Value:
        """The data as it can be computed with: in a missing cell of a partial variable may stand anything, even nan."""
        value, variable = self.data(name), self.model.variable[name]
        if variable.role != "partial":
            return value
        return self.where(f"{name}_known", value, [self.observed(name)], MISSING.get(variable.type.domain, 0))

    def around(self, e: Expression) -> "Writer | None":
        """Inside a chain's loop, the writer in front of it, where that is to compute an expression."""
        return None

    def element(self, value: Value) -> Value:
        """Inside a chain's loop, the present element along its plate."""
        for plate, index in self.at.items():
            if plate in value.axes:
                at = value.axes.index(plate)
                code = f"{value.code}[{', '.join([':'] * at + [index])}]"
                axes = tuple(axis for axis in value.axes if axis != plate)
                value = replace(value, code=code, axes=axes, enumerates=None)
        return value if value.mask is None else replace(value, mask=self.element(value.mask))

    def sort(self, axes: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(axes, key=self.order.index))

    def dim(self, dim: Dim) -> str:
        """A size as text: a number, or an attribute that the constructor keeps."""
        if isinstance(dim, int):
            return str(dim)
        return re.sub(r"[A-Za-z_]\w*", lambda m: self.needs.size(m.group()), dim)

    def plate_size(self, plate: str) -> str:
        """Number of elements of a plate, padding included."""
        found = self.model.plate[plate]
        if found.size is not None:
            return self.dim(found.size)
        if ("size", plate) in self.cache:
            return str(self.cache["size", plate])
        for variable in self.model.variables:
            if plate in element_plates(variable) and variable.role != "latent":
                value = self.data(variable.name)
                return f"{value.code}.shape[{value.axes.index(plate)}]"
        return f"int({self.lengths(plate).code}.max())"

    def axis_size(self, axis: str) -> str:
        """Number of values along an axis: a plate's elements, or an enumerated latent's values."""
        from vispec.plan.axes import SAMPLES, present, unrolled_plate

        if axis == SAMPLES:
            return self.samples
        name, plate = present(axis), unrolled_plate(axis)
        if plate is not None:
            return f"{self.axis_size(name)} ** {self.plate_size(plate)}"
        if name in self.model.plate:
            return self.plate_size(name)
        type_ = self.model.variable[name].type
        if type_.domain == "bit":
            return "2"
        if type_.domain == "tree":
            return f"{self.plate_size(str(type_.plate))} + 1"
        return self.dim(type_.card) if type_.card is not None else self.plate_size(str(type_.plate))

    def lengths(self, plate: str) -> Value:
        found = self.model.plate[plate]
        return self.entry(found.length_key, found.inside, integer=True)

    def position(self, axis: str) -> Value:
        """0, 1, ... along an axis, as integers."""
        code = f"torch.arange({self.axis_size(axis)}, device=self.one.device)"
        return self.let(f"at_{axis.replace(chr(39), '_past')}", code, (axis,), integer=True)

    def inside(self, plate: str, axis: str | None = None) -> Value:
        """Which elements of a ragged plate count; along `axis` where a latent's values stand for the plate's elements."""
        axis = axis or plate
        lengths = self.lengths(plate)
        position = self.position(axis)
        axes = self.sort((*lengths.axes, axis))
        lead = lengths.code + "[" + ", ".join([":"] * len(lengths.axes) + ["None"]) + "]"
        return self.let(f"inside_{axis}", f"{position.code} < {lead}", axes)

    # ---- results

    def body(self, result: str) -> list[str]:
        """The lines that `result` and what is not an assignment need, in order."""
        needed = set(re.findall(r"\w+", result))
        kept: list[str] = []
        for at, text in reversed(list(enumerate(self.lines))):
            names = targets(text)
            if names and not needed & set(names):
                continue
            if (name := appended_to(text)) and name not in needed and not is_read(name, self.lines[:at]):
                continue
            if is_header(text) and not (kept and indent(kept[-1]) > indent(text)):  # nothing is left of its block
                if not kept or not re.match(r"\s*(else|elif)\b", kept[-1]):
                    continue
                kept.append(" " * indent(text) + "    pass")
            kept.append(text)
            needed |= set(re.findall(r"\w+", text.split("  # ")[0]))
        return kept[::-1]


def is_header(line: str) -> bool:
    """Whether a line opens a block."""
    return re.match(r"\s*(for|if|elif|else)\b.*:$", line) is not None


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def targets(line: str) -> list[str]:
    """The names that a line assigns."""
    target = re.match(r"([\w, ]+?) = ", line)
    return re.findall(r"\w+", target.group(1)) if target else []


def appended_to(line: str) -> str | None:
    """The list that a line adds to."""
    found = re.match(r"\s*(\w+)\.append\(", line)
    return found.group(1) if found else None


def is_read(name: str, lines: Iterable[str]) -> bool:
    """Whether lines take an element of a list: in a loop, of what a later line of its body added."""
    return any(re.search(rf"\b{name}\[", line) for line in lines)


class ModuleNeeds:
    """What the methods of one module need from elsewhere in it: sizes as attributes, kernels, distinct rows, ..."""

    def __init__(self) -> None:
        self.sizes: dict[str, None] = {}
        self.kernels: dict[tuple[str, str], None] = {}
        self.net_modes: dict[str, set[str]] = {}
        self.joint: str | None = None  # bytes that one joint value of one row takes, where joint values are enumerated
        self.joint_reads: dict[str, Value] = {}  # drawn variables that joint values are scored with, as log_prob has them
        self.sums: tuple[str, ...] = ()  # what an exact posterior sums out, in order

    def size(self, name: str) -> str:
        self.sizes[name] = None
        return f"self.{identifier(name)}"

    def kernel(self, module: str, name: str) -> str:
        """Name of a function or class that the emitted file shall contain; module is its file's dotted name."""
        self.kernels[module, name] = None
        return name
