"""Along what things differ: variables have elements along plates, expressions one value for each element that they read."""

from vispec.model.model import (
    All,
    Evidence,
    Expression,
    For,
    Length,
    Let,
    Model,
    NetCall,
    Past,
    Position,
    Prefix,
    Recursion,
    Ref,
    Select,
    Variable,
)
from vispec.model.types import WHOLE_DOMAINS


def element_plates(variable: Variable | Let) -> tuple[str, ...]:
    """The plates along which a variable or let has elements: its own, and for a tree or a parse the one that it is over."""
    own = (variable.type.plate,) if variable.type.domain in WHOLE_DOMAINS and variable.type.plate else ()
    return (*variable.plates, *own)


def first_plate(model: Model, name: str) -> str | None:
    """The outermost plate of the text along which a variable or let has elements; None for any other name."""
    node = model.variable.get(name) or model.let.get(name)
    plates = element_plates(node) if node is not None else ()
    return next((plate for plate in plates if not model.plate[plate].implicit), None)


def extent(expression: Expression, model: Model, summed: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of all along which the value differs: plates, summed latents, and their pasts, "c'" a step back."""

    def of(e: Expression) -> frozenset[str]:
        match e:
            case Ref(name=name):
                return own(name)
            case Past(name=name, lag=lag) if name in summed:
                return frozenset({name + "'" * lag})
            case Past(name=name) | Prefix(name=name):
                return own(name)
            case All(name=name, plate=plate):
                return own(name) - {plate}
            case Evidence(read=read):
                plates = frozenset(element_plates(model.variable[read.name]))
                return plates - {read.plate} if isinstance(read, All) else plates
            case Position(plate=plate):
                return frozenset({plate})
            case Length(plate=plate):
                found = model.plate[plate]
                return frozenset(found.inside) if found.ragged else frozenset()
            case For(body=body, plate=plate):
                return of(body) - {plate}
            case Select(name=name, by=by):
                return (own(name) - {plate for plate, _ in by}).union(*(of(index) for _, index in by))
            case NetCall(args=args, type=type_):
                axes = frozenset[str]().union(*map(of, args))
                return axes | {type_.over} if type_.over is not None and not type_.star else axes
            case Recursion(state=name):
                return frozenset(model.let[name].plates)
            case _:
                return frozenset[str]().union(*map(of, e.children))

    def own(name: str) -> frozenset[str]:
        let = next((each for each in (*model.lets, *model.guide_lets) if each.name == name), None)
        if name in summed or let is not None:
            return frozenset({name}) if let is None else of(let.value)
        return frozenset(element_plates(model.variable[name]) if name in model.variable else model.param[name].plates)

    return of(expression)
