"""How a model calls one of its nets: which arguments are prefixes, which vary along the prefix, which sequences have holes."""

from dataclasses import dataclass

from vispec.model.extent import extent
from vispec.model.model import All, Model, Net, NetCall, Variable, Where
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import law_parts, looked_up, prefix_of, walk
from vispec.plan.refused.trees import may_be_root
from vispec.trunk import memory_argument


@dataclass(frozen=True)
class Uses:
    """prefix: sequence arguments given as `x[<i]`. stepped: arguments without a star that differ from one i to the next, which
    `prefixes` takes with i as their last leading axis, (*B, T or 1, *event). holes: some call gives `y[*] where f[*]`. rooted:
    arguments which some call gives what a head points at, so they take the root's symbol, one past the values of their type;
    and those that share their table. counted: sequences whose counts some call knows, since a sum reads them too. memory: the
    sequence that a layer reads from the states of the others."""

    prefix: frozenset[str]
    stepped: frozenset[str]
    holes: bool
    rooted: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    memory: str | None = None


def uses(net: Net, model: Model) -> Uses:
    """Over all calls of the net in the model's laws, lets and guide."""
    calls = [call for call in model.calls if call.net == net.name]
    names = [name for name, _ in net.args]
    prefix = {name for call in calls for name, arg in zip(names, call.args, strict=True) if prefix_of(arg)}
    stepped = {name for call in calls for name in stepped_arguments(net, call, model)}
    holes = any(isinstance(looked_up(arg), Where) for call in calls for arg in call.args)
    memory = memory_argument(net, prefix)
    if not prefix:  # asked for prefixes by no call of the model: all sequences but the memory
        prefix = {name for name, type in net.args if type.star and name != memory}
    counted = {name for call in calls for name in counted_arguments(net, call, model)}
    return Uses(frozenset(prefix), frozenset(stepped), holes, rooted_arguments(net, calls, model), frozenset(counted), memory)


def counted_arguments(net: Net, call: NetCall, model: Model) -> tuple[str, ...]:
    """Names of the call's arguments that a bag of words comes first for, and that are all outcomes of a mixture: `w[*]` where
    a finite latent of w's own plates chooses its law."""
    if net.trunk[0].layer != "bow" or len(net.args) != 1 or net.random:
        return ()
    ((name, _),), (arg,) = net.args, call.args
    return (name,) if isinstance(arg, All) and is_mixed(model.variable[arg.name], model) else ()


def is_mixed(variable: Variable, model: Model) -> bool:
    """Whether its tokens in one plate of the data are of a law with a finite latent of that plate."""
    if variable.role != "observed" or variable.type.domain != "token" or len(variable.plates) != 2:
        return False
    latents = (each for each in model.variables if each.role == "latent" and each.plates == variable.plates)
    read = {getattr(e, "name", None) for part in law_parts(variable.law) for e in walk(part)} if variable.law else set()
    return any(each.name in read and each.type.domain in FINITE_DOMAINS for each in latents)


def rooted_arguments(net: Net, calls: list[NetCall], model: Model) -> frozenset[str]:
    """Arguments over the values of one that some call may give the root's symbol."""
    pairs = [(type, arg) for call in calls for (_, type), arg in zip(net.args, call.args, strict=True)]
    cards = {type.card for type, arg in pairs if may_be_root(arg, model)}
    return frozenset(name for name, type in net.args if type.card is not None and type.card in cards)


def stepped_arguments(net: Net, call: NetCall, model: Model) -> tuple[str, ...]:
    """Names of the call's arguments without a star that vary over the plate of its prefix."""
    plates = {prefix.plate for arg in call.args if (prefix := prefix_of(arg))}
    pairs = zip(net.args, call.args, strict=True)
    return tuple(name for (name, type), arg in pairs if not type.star and plates & extent(arg, model))
