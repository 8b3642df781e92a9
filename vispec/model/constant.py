"""Deterministic nodes that only parameters decide: the same for all rows."""

from vispec.model.model import Let, Model
from vispec.model.walk import walk


def constant_lets(model: Model) -> list[Let]:
    """Those that read no variable, be it through others."""
    lets = {let.name: let for let in model.lets}

    def is_constant(let: Let) -> bool:
        names = [str(name) for e in walk(let.value) if (name := getattr(e, "name", None)) is not None]
        return not any(name in model.variable or (name in lets and not is_constant(lets[name])) for name in names)

    return [let for let in model.lets if not any(model.plate[p].data for p in let.plates) and is_constant(let)]
