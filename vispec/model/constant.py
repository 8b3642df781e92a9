"""Deterministic nodes that take no part in a density: those that only parameters decide, and those that no law reads."""

from vispec.model.model import Let, Model
from vispec.model.walk import read_values, walk


def constant_lets(model: Model) -> list[Let]:
    """Those that read no variable, be it through others."""
    lets = {let.name: let for let in model.lets}

    def is_constant(let: Let) -> bool:
        found, pending = {let.name}, [let.value]
        while pending:
            names = {str(name) for e in walk(pending.pop()) if (name := getattr(e, "name", None)) is not None}
            if names & {*model.variable}:
                return False
            pending += [lets[name].value for name in names & {*lets} - found]
            found |= names
        return True

    return [let for let in model.lets if not any(model.plate[p].data for p in let.plates) and is_constant(let)]


def derived_lets(model: Model) -> list[Let]:
    """Those that no law and no guide reads, and that a row decides: a posterior tells of them. None that is a sequence or a
    tree, of which there is no mean."""
    read, constant = read_values(model), {let.name for let in constant_lets(model)}
    return [
        let
        for let in model.lets
        if not any(let.value is each for each in read)
        and let.name not in constant
        and not let.type.star
        and let.type.domain != "tree"
    ]
