"""What stands in for finite latents in a start: clusters of what they select, or a guess."""

from collections.abc import Sequence

from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer
from vispec.model.model import Variable
from vispec.model.types import Dim

KERNELS = "vispec.kernels.starts"
NUMBERS = {"real": "{}", "positive": "{}.log()", "count": "{}.sqrt()"}
SHARES = {"bit": "{}", "unit": "{}", "simplex": "{}.sqrt()"}
"""How the values of a domain are compared, as text."""


def card(w: Writer, variable: Variable) -> str | None:
    """How many values a finite variable has, as text; None where rows differ in that."""
    if variable.type.domain == "bit":
        return "2"
    size: Dim | None = variable.type.card
    if size is None and variable.type.plate is not None:
        size = w.model.plate[variable.type.plate].size
    return None if size is None else w.dim(size)


def clustered(w: Writer, latent: Variable, evidence: Sequence[Variable]) -> list[Variable]:
    """The observed variables by which the latent's values may be told apart: none, where each of its elements shows one finite
    value, or where its values are places among what is observed."""
    if card(w, latent) is None or any(latent.type.plate in v.plates for v in evidence):
        return []
    around = [v for v in evidence if {*latent.plates} <= {*v.plates} and comparable(w, v)]
    several = [v for v in around if v.type.shape or len(v.plates) > len(latent.plates)]
    numbers = [v for v in around if v.type.domain in NUMBERS or v.type.domain in ("unit", "simplex")]
    return [v for v in around if v in several or v in numbers or v.type.domain != "token"] if several or numbers else []


def comparable(w: Writer, variable: Variable) -> bool:
    """Whether values of a variable have distances between them."""
    return variable.type.domain in {**NUMBERS, **SHARES} or size_of(w, variable) is not None


def size_of(w: Writer, variable: Variable) -> str | None:
    return card(w, variable) if variable.type.domain in ("category", "token", "index") and not variable.type.shape else None


def clusters(w: Writer, latent: Variable, evidence: Sequence[Variable]) -> Value:
    """The cluster of each of the latent's elements, as its value."""
    axes = w.sort(latent.plates)
    numbers = [part(w, v, axes) for v in evidence if v.type.domain in NUMBERS]
    shares = [part(w, v, axes) for v in evidence if v.type.domain not in NUMBERS]
    settings = [str(card(w, latent)), f"[{', '.join(numbers)}]", *([f"[{', '.join(shares)}]"] if shares else [])]
    masks = [w.inside(axis) for axis in axes if w.model.plate[axis].ragged]
    if masks or len(axes) > 1:
        settings.append(f"inside={whole(w, masks, axes)}")
    if latent.role == "partial":
        settings.append(
            f"known=torch.where({w.observed(latent.name).code}, {w.data(latent.name).code}{'.long()' * bit(latent)}, -1)"
        )
    function = w.needs.kernel(KERNELS, "clusters")
    return as_value(w, latent, f"{function}({', '.join(settings)})", axes)


def clusters_of_elements(w: Writer, variable: Variable, elements: str, size: str) -> Value:
    """The cluster of each of a variable's elements (N, *event), of which it has numbers or vectors."""
    numeric = variable.type.domain in NUMBERS
    how = {**NUMBERS, **SHARES}[variable.type.domain].format(elements)
    function = w.needs.kernel(KERNELS, "clusters")
    return w.let(f"{variable.name}_cluster", f"{function}({size}, [{how}])" if numeric else f"{function}({size}, [], [{how}])")


def guess(w: Writer, latent: Variable) -> Value:
    """Any of its values for each of the latent's elements."""
    axes = w.sort(latent.plates)
    sizes = ", ".join(w.axis_size(axis) for axis in axes)
    size = card(w, latent)
    if size is not None:
        return as_value(w, latent, f"torch.randint({size}, ({sizes}{',' * (len(axes) == 1)}), device=self.one.device)", axes)
    lengths = align(w.lengths(str(latent.type.plate)), axes)
    return as_value(w, latent, f"(torch.rand({sizes}, device=self.one.device) * {lengths}).long()", axes)


def bit(variable: Variable) -> bool:
    return variable.type.domain == "bit"


def as_value(w: Writer, latent: Variable, code: str, axes: tuple[str, ...]) -> Value:
    """Bits are numbers of the module's dtype."""
    return w.draw(latent.name, f"{code}.to(self.one.dtype)" if bit(latent) else code, axes, integer=not bit(latent))


def whole(w: Writer, masks: Sequence[Value], axes: tuple[str, ...]) -> str:
    """Masks as one over all axes, as text."""
    shape = ", ".join(w.axis_size(axis) for axis in axes)
    if not masks:
        return f"torch.ones({shape}, dtype=torch.bool, device=self.one.device)"
    code = " & ".join(align(mask, axes) for mask in masks)
    return code if any(mask.axes == axes for mask in masks) else f"({code}).expand({shape})"


def part(w: Writer, v: Variable, axes: tuple[str, ...]) -> str:
    """What a variable says of the elements along `axes`, (*axes, ...): its values there, nan where one is missing, with their
    mean or frequencies over elements of which rows have different numbers."""
    size = size_of(w, v)
    value = w.data(v.name) if size is None else w.known(v.name)
    inner = [axis for axis in value.axes if axis not in axes]
    ragged = [axis for axis in inner if w.model.plate[axis].ragged]
    masks = [w.inside(axis) for axis in ragged] + ([w.observed(v.name)] if v.role == "partial" else [])
    order = (*axes, *inner)
    if size is not None and ragged and len(ragged) == len(inner):
        mask = moved(paren(whole(w, masks, value.axes)), value.axes, order)
        function = w.needs.kernel(KERNELS, "frequencies")
        code = f"{function}({moved(value.code, value.axes, order)}, {size}, {len(axes)}, {mask}, self.one)"
        return w.let(f"{v.name}_shares", code).code
    if size is not None:
        code, events = f"F.one_hot({value.code}, {size}).to(self.one.dtype)", 1
    else:
        code, events = {**NUMBERS, **SHARES}[v.type.domain].format(value.code), len(v.type.shape)
    for mask in masks:
        code = f"{code}.where({align(mask, value.axes)}{'[..., None]' * events}, torch.nan)"
    code = moved(code, value.axes, order, events)
    if ragged:
        code += f".nanmean(({', '.join(str(order.index(axis)) for axis in ragged)},))"
    return code if code == value.code or len(code) < 30 else w.let(f"{v.name}_shown", code).code


def moved(code: str, axes: Sequence[str], order: Sequence[str], events: int = 0) -> str:
    if tuple(axes) == tuple(order):
        return code
    where = ", ".join(str(axes.index(axis)) for axis in order)
    return f"{code}.permute({where}{''.join(f', {-i}' for i in range(events, 0, -1))})"
