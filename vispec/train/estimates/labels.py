"""What the elements along the axes of a parameter are called: labels, words and columns of the data, else positions from 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vispec.model.model import Model
from vispec.model.types import Dim, Type
from vispec.train.data.arrange import layout_of
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.estimates.categories import categories

Label = str | int


@dataclass(frozen=True)
class Labels:
    """Names of elements, by plate, by the name of a size, and of those without one by parameter and dimension."""

    plates: Mapping[str, Sequence[str]]
    sizes: Mapping[str, Sequence[str]]
    entries: Mapping[tuple[str, int], Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, encoders: Encoders, columns: Mapping[str, Sequence[str]]) -> "Labels":
        """columns: the names of those that a variable's vector was gathered from, by variable."""
        sizes: dict[str, Sequence[str]] = {name: labels for name, labels in encoders.labels.items() if labels is not None}
        plates: dict[str, Sequence[str]] = {plate.name: sizes[plate.name] for plate in model.plates if plate.name in sizes}
        for variable in model.variables:
            names, axes = columns.get(variable.name, ()), layout_of(model, variable).tail
            if not names or len(axes) != 1 or variable.role == "latent":
                continue
            if axes[0].plate is not None:
                plates.setdefault(axes[0].plate, names)
            if isinstance(axes[0].size, str):
                sizes.setdefault(axes[0].size, names)
        sizes |= {name: vocabulary.tokens for name, vocabulary in encoders.vocabularies.items()}
        return cls(plates, sizes, categories(model, encoders.labels))

    def axes(
        self, model: Model, plates: Sequence[str], type_: Type, shape: Sequence[int], name: str = ""
    ) -> list[Sequence[Label]]:
        """The labels along each axis of a tensor of this shape (*plates, *event), of a parameter or let of this name."""
        found = [self._plate(model, plate, size) for plate, size in zip(plates, shape, strict=False)]
        rest = shape[len(plates) :]
        if type_.low is not None:
            return [*found, *(range(type_.low, type_.low + size) for size in rest)]
        own = [self.entries.get((name, at), ()) for at in range(len(rest))]
        event = zip(own, type_.shape, rest, strict=True)
        return [*found, *(filled(names, size) if names else self._size(dim, size) for names, dim, size in event)]

    def _plate(self, model: Model, plate: str, size: int) -> Sequence[Label]:
        names = self.plates.get(plate)
        return self._size(model.plate[plate].size, size) if names is None or len(names) > size else filled(names, size)

    def _size(self, dim: Dim | None, size: int) -> Sequence[Label]:
        names = self.sizes.get(dim) if isinstance(dim, str) else None
        return range(size) if names is None or len(names) > size else filled(names, size)


def filled(names: Sequence[str], size: int) -> Sequence[Label]:
    """The names, and positions for the elements of a larger size that no data have shown."""
    return [*names, *range(len(names), size)]
