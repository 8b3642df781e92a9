"""Values of structures, by a rule; and variables that read each other through the heads of a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vispec.factors import structured
from vispec.factors.frame import Frame
from vispec.factors.laws import DrawLaw, Law
from vispec.model.model import Variable
from vispec.plan.held.along import changed
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Carried, Input, Loop, Node, Part, Site, Zeros
from vispec.structures.calls import lengths_of
from vispec.structures.entry import StructureKind

KERNELS = "vispec.kernels.trees.tree"
LABELS = "vispec.kernels.sums.linear_chain"


def decided_structure(f: Frame, variable: Variable, law: Law, read: bool) -> Node:
    """Heads by the rule; of a latent drawn."""
    entry, group = structured.kind_of(f, variable)
    assert isinstance(law, DrawLaw)
    plate, (state,) = group.plate, group.states
    plates = tuple(map(f.plate, variable.plates))
    found = structured.parts(f, variable, law)
    rule = Input("rule", (), "real", "argument") if variable.role != "latent" else "sample"
    if variable.type.stored:
        return decided_parse(f, variable, found, entry, rule)
    if found.whole:
        given = [(table, tuple(axis for axis in found.hidden if axis in table.axes), "") for table in found.scores.values()]
        nothing = (Zeros((*plates, plate, state)), (plate, state), "")
        arguments, settings = (*given, nothing, *lengths_of(plate)), entry.settings(group.shape)
        return Part(Call("kernel", entry.decide, arguments, (((plate,), "int"),), settings), 0)
    (scores,) = found.scores.values()
    scores = Zeros((*plates, plate, state)) if not scores.axes else build.spread(scores, (*plates, plate, state))
    lengths: tuple[tuple[Node, tuple[Axis, ...], str], ...] = ()
    settings = (("read", read),)
    if plate.lengths is not None:
        lengths = ((plate.lengths, (), "length"),)
    else:
        settings = (("length", None), *settings)
    settings = (*settings, ("rule", rule), *entry.settings(group.shape))
    call = Call("kernel", entry.decide, ((scores, (plate, state), ""), *lengths), (((plate,), "int"),), settings)
    return Part(call, 0)


def decided_parse(f: Frame, variable: Variable, found: structured.Parts, entry: StructureKind, rule: Node | str) -> Node:
    """A parse by the rule, as data tell it; of a latent drawn."""
    plate = f.plate(str(variable.type.plate))
    plates, told = tuple(map(f.plate, variable.plates)), f.as_told(variable).order[-1]
    own = {"root": found.hidden[:1], "rule": found.hidden, "spans": (plate, *found.hidden, found.state)}
    given = tuple((build.spread(each, (*plates, *own[name])), own[name], "") for name, each in found.scores.items())
    given += ((Zeros((*plates, plate, found.state)), (plate, found.state), ""),)
    settings: tuple[tuple[str, object], ...] = (("rule", rule),)
    if plate.lengths is None:
        settings = (("length", None), *settings)
    call = Call("kernel", entry.decide, (*given, *lengths_of(plate, "length")), (((plate, told), "int"),), settings)
    return Part(call, 0)


def decided_labels(f: Frame, variable: Variable, law: Law, read: bool) -> Node:
    """The labels of a plate by the rule; of a latent drawn."""
    assert isinstance(law, DrawLaw)
    own, given = {name: axes for name, _, axes in law.params}, {name: node for name, node, _ in law.params}
    plate, state = own["scores"]
    scores = build.spread(given["scores"], (*map(f.plate, variable.plates), state))
    rule = Input("rule", (), "real", "argument") if variable.role != "latent" else "sample"
    settings: tuple[tuple[str, object], ...] = (("rule", rule), ("read", read))
    if plate.lengths is None:
        settings = (("length", None), *settings)
    arguments = ((scores, (plate, state), ""), (given["move"], own["move"], ""), *lengths_of(plate, "length"))
    return Part(Call("kernel", f"{LABELS}:decide_labels", arguments, (((plate,), "int"),), settings), 0)


def grown(
    f: Frame, tree: Variable, heads: Node, sites: Sequence[Site], laws: Sequence[Law], draw: Callable[[Site, Law], Node]
) -> list[Node]:
    """A loop over the levels of a tree, as many as it may have: the elements of a level are drawn given those above."""
    plate = f.plate(str(tree.type.plate))
    depth = Part(Call("kernel", f"{KERNELS}:tree_depth", ((heads, (plate,), ""),), (((plate,), "int"),), ()), 0)
    level = Axis("level", "plate", plate.size, None, plate)
    name = f"levels of {tree.name}"
    around = ordered({axis for site in sites for axis in site.order if axis.kind != "event"} - {plate})
    carried = {site: Carried(name, "state", at, tuple(axis for axis in site.order), site.kind) for at, site in enumerate(sites)}
    now = Carried(name, "now", 0, (), "int")

    def body(before: dict[Site, Node], here: Node) -> tuple[Node, ...]:
        known: dict[Node, Node] = {**before}
        for site, law in zip(sites, laws, strict=True):
            value = draw(site, changed(law, known))
            known[site] = build.where(build.eq(depth, build.add(here, 1)), value, before[site])
        return tuple(build.spread(known[site], site.order) for site in sites)

    nothing = {site: zeros(site) for site in sites}
    loop = Loop(name, level, (body(nothing, build.node(0)), body({**carried}, now)), around, tuple(site.name for site in sites))
    last = build.sub(build.extent(level), 1)
    return [build.pick(Part(loop, at), {level: last}) for at in range(len(sites))]


def zeros(site: Site) -> Node:
    found: Node = Zeros(site.order)
    return found if site.kind == "real" else build.apply("int", found)
