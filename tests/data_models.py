"""Checked models written by hand, as small as the data tests need: only what decides how data is read."""

from dataclasses import replace

from vispec.model.model import FitEntry, Model, Plate, Size, Variable, Vocab
from vispec.model.types import Type
from vispec.source import Source, Span

HERE = Span(0, 0, 1, 1, 1, 1)


def size(name: str, value: int | None = None) -> Size:
    return Size(name, value, HERE)


def vocab(name: str, **options: int | bool | str) -> Vocab:
    return Vocab(name, tuple(options.items()), HERE)


def data(name: str = "n") -> Plate:
    return Plate(name, "plate", None, (), True, False, f"{name}_len", HERE)


def ragged(name: str, length_key: str, *inside: str) -> Plate:
    return Plate(name, "plate", None, inside, False, True, length_key, HERE)


def fixed(name: str, dim: int | str | None, *inside: str) -> Plate:
    return Plate(name, "plate", dim, inside, False, False, f"{name}_len", HERE)


def observed(name: str, kind: Type, *plates: str) -> Variable:
    return Variable(name, "observed", kind, plates, None, HERE)


def given(name: str, kind: Type, *plates: str) -> Variable:
    return replace(observed(name, kind, *plates), role="given")


def partial(name: str, kind: Type, *plates: str) -> Variable:
    return replace(observed(name, kind, *plates), role="partial")


def latent(name: str, kind: Type, *plates: str) -> Variable:
    return replace(observed(name, kind, *plates), role="latent")


def model(*parts: Size | Vocab | Plate | Variable | FitEntry) -> Model:
    def of(kind: type) -> tuple:
        return tuple(part for part in parts if isinstance(part, kind))

    order = tuple(v.name for v in of(Variable))
    source = Source("model.vispec", "")
    return Model("M", source, of(Size), of(Vocab), of(Plate), (), (), of(Variable), (), order, (), (), (), of(FitEntry))


REAL = Type("real")


def real(*shape: int | str) -> Type:
    return Type("real", shape)


def token(name: str = "V") -> Type:
    return Type("token", card=name)


def category(card: int | str) -> Type:
    return Type("category", card=card)


def bit(*shape: int | str) -> Type:
    return Type("bit", shape, card=2)


def index(plate: str, card: int | str | None = None) -> Type:
    return Type("index", card=card, plate=plate)
