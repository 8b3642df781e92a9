"""V718: laws of a law where a variable is drawn and this version cannot draw it so."""

from collections.abc import Iterator

from vispec.catalog import distributions
from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model.model import Draw, Model
from vispec.model.walk import draws, is_read


def check_modified(model: Model) -> None:
    """Raise SpecError with every place of that kind; before guides are completed, which need the ends of laws."""
    found = tuple(problems(model))
    if found:
        raise SpecError(model.source, found)


def problems(model: Model) -> Iterator[Diagnostic]:
    for guide in model.guide:
        for draw in modified(draws(guide.law)):
            message = f"the guide of `{guide.name}` is a law of a law, whose draws are no smooth function of noise"
            yield Diagnostic(
                "V718", message, Label(draw.span, "in a guide"), help="write a law with the same ends in its place"
            )
    for variable in model.variables:
        if variable.law is None or variable.type.discrete or variable.role in ("given", "observed"):
            continue
        if variable.role == "partial" and not is_read(model, variable.name):
            continue
        for draw in modified(draws(variable.law)):
            entry = distributions()[draw.distribution]
            if entry.modifier is not None and entry.modifier.masses:
                message = f"`{variable.name}` is drawn, and has masses at its bounds, which no guide of a continuous law has"
                help_ = f"give `{variable.name}` the law inside, and read `high if {variable.name} > high else {variable.name}`"
                yield Diagnostic("V718", message, Label(draw.span, "masses"), help=help_)
            elif entry.bounds[0] is None and entry.bounds[1] is not None:
                message = f"`{variable.name}` is drawn, and no guide has an upper end alone"
                help_ = "write `low` too, or the law of a number with the other sign"
                yield Diagnostic("V718", message, Label(draw.span, "no lower end"), help=help_)


def modified(found: Iterator[Draw]) -> Iterator[Draw]:
    return (draw for draw in found if distributions()[draw.distribution].modifier is not None)
