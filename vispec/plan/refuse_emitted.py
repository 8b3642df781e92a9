"""What the emitter cannot do, and the tensor program can."""

from collections.abc import Iterator

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model.model import All, Model, Past, Prefix, Select, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import law_parts, read_values, walk
from vispec.plan.axes import key
from vispec.plan.refuse import guide_expressions, model_expressions


def check_emitted(model: Model) -> None:
    """Raise SpecError with every reason why the emitter cannot write this model's module."""
    found = tuple(each for variable in model.variables for each in problems(variable, model))
    if found:
        raise SpecError(model.source, found)


def problems(variable: Variable, model: Model) -> Iterator[Diagnostic]:
    """Of a latent that something reads."""
    finite = variable.type.domain in FINITE_DOMAINS | {"tree"} and not variable.type.shape
    asked = next((infer.estimator.name for infer in model.infer if infer.name == variable.name), None)
    read = any(getattr(e, "name", None) == variable.name for e in model_expressions(model))
    if variable.role not in ("latent", "partial") or not read:
        return
    if finite and asked in (None, "exact"):
        yield from enumerated_problems(variable, model)
    elif reads_prefix(variable, model):
        name = variable.name
        message = f"the elements of `{name}` before one are read together, which this version does only for observed variables"
        yield Diagnostic("V712", message, Label(variable.span), help=f"read the one before, `{name}[t-1]`")


def enumerated_problems(variable: Variable, model: Model) -> Iterator[Diagnostic]:
    """V703, V707, V708."""
    name = variable.name
    for e in model_expressions(model):
        if isinstance(e, Past) and e.name == name and e.lag > 2:
            message = f"`{name}` is read {e.lag} steps back; chains of order one and two are compiled"
            help_ = "read it one or two steps back"
            yield Diagnostic("V707", message, Label(e.span), help=help_)
    reads = [e for e in (*model_expressions(model), *guide_expressions(model)) if getattr(e, "name", None) == name]
    if any(isinstance(e, Prefix) for e in reads):
        return
    whole, past = (next((e for e in reads if isinstance(e, kind)), None) for kind in (All, Past))
    if whole is not None and past is not None:
        message = f"`{name}` is a chain, and its elements are read together: every path would have to be enumerated"
        chain = (Label(past.span, "a chain"),)
        yield Diagnostic("V703", message, Label(whole.span, "all of them"), chain, f"give `{name}` a guide")
    yield from pointer_problems(variable, model)


def pointer_problems(variable: Variable, model: Model) -> Iterator[Diagnostic]:
    """An enumerated latent may be read at one index a law, which the data has."""
    name = variable.name
    laws = [law_parts(v.law) for v in model.variables if v.law] + [(value,) for value in read_values(model)]
    for parts in laws:
        inside = [e for part in parts for e in walk(part)]
        found = [e for e in inside if isinstance(e, Select) and e.name == name]
        hidden = [e for s in found for _, index in s.by for e in walk(index) if is_hidden(getattr(e, "name", None), model)]
        others = [e for e in inside if getattr(e, "name", None) == name and not isinstance(e, Select)]
        if hidden:
            message = f"an element of the latents `{name}` is selected by an index that is latent itself"
            yield Diagnostic("V708", message, Label(hidden[0].span), help="give one of the two a guide, or the index as data")
        elif found and (others or len({key(e) for e in found}) > 1 or len(found[0].by) > 1):
            message = f"one law reads several elements of the latents `{name}`, which couples them all"
            yield Diagnostic("V708", message, Label(found[-1].span), help=f"give `{name}` a guide")


def is_hidden(name: str | None, model: Model) -> bool:
    variable = model.variable.get(name) if name else None
    return variable is not None and variable.role in ("latent", "partial")


def reads_prefix(variable: Variable, model: Model) -> bool:
    return any(isinstance(e, Prefix) and e.name == variable.name for e in model_expressions(model))
