"""What a latent's net reads: the observed and given variables around it, and draws of a joint guide."""

from dataclasses import replace

from vispec.model.model import All, Apply, Evidence, Expression, Model, NetCall, Ref, Variable
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.plan.guides.questions import in_joint, is_leaf

SUMMARY = Type("real", (64,))  # of what stands along a plate, by a net of its own
BASELINE = "baseline of the data"  # the let that reads the score function's learnt baseline


def readings(other: Variable, latent: Variable, model: Model) -> list[Expression]:
    """How the latent's net reads another variable: its own element, or its sequence one plate further in; and where it may be
    missing, also which of it are there."""
    read = reading(other, latent, model)
    if not isinstance(read, Ref | All) or other.role != "partial":
        return [] if read is None else [read]
    bit = replace(read.type, domain="bit", shape=(), card=2, plate=None)
    return [Evidence(read.span, kind, read, seen) for kind, seen in ((read.type, False), (bit, True))]


def reading(other: Variable, latent: Variable, model: Model) -> Expression | None:
    if in_joint(other.name, model) and not other.plates and latent.name != BASELINE:
        drawn = Ref(latent.span, other.type, other.name)
        if other.type.domain != "positive":
            return drawn
        return Apply(latent.span, replace(other.type, domain="real"), "log", (drawn,))  # scales may be far apart
    if (other.role not in ("observed", "given") and not is_leaf(other, model)) or other.name == latent.name:
        return None
    if set(other.plates) == set(latent.plates):
        return Ref(latent.span, other.type, other.name)
    inner = [p for p in other.plates if p not in latent.plates]
    if len(inner) != 1 or inner[0] != other.plates[-1] or not set(latent.plates) <= set(other.plates):
        return None
    return All(latent.span, replace(other.type, star=True, over=inner[0]), other.name, inner[0])


def inner_plates(other: Variable, latent: Variable) -> tuple[str, ...]:
    """The plates further in than a latent in which something of the data stands, where the latent's are all around it."""
    inner = tuple(plate for plate in other.plates if plate not in latent.plates)
    there = (
        other.role != "latent"
        and {*latent.plates} <= {*other.plates}
        and other.plates[len(other.plates) - len(inner) :] == inner
    )
    return inner if there else ()


def arguments(inputs: list[Expression], model: Model) -> tuple[tuple[str, Type], ...]:
    return tuple((argument_name(e), argument_type(e, model)) for e in inputs)


def argument_name(e: Expression) -> str:
    """What a net calls an input: the variable's name, that of its logarithm, or of where it is seen."""
    if isinstance(e, NetCall):
        return e.net
    if isinstance(e, Evidence):
        return f"{e.read.name}_seen" if e.seen else e.read.name
    return f"log_{argument_name(e.args[0])}" if isinstance(e, Apply) else str(getattr(e, "name", ""))


def argument_type(e: Expression, model: Model) -> Type:
    """Numbers along a plate of known size are a vector, anything else that has a plate is a sequence; so is where vectors are
    seen, as they are."""
    size = model.plate[e.type.over].size if e.type.over is not None else None
    shape = e.read.type.shape if isinstance(e, Evidence) else e.type.shape
    if size is not None and not shape and e.type.domain not in INTEGER_DOMAINS:
        return replace(e.type, shape=(size,), star=False, over=None)
    return replace(e.type, over=None)
