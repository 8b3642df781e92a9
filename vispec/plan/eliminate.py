"""Plated variable elimination (Obermeyer et al. 2019, algorithm 1): the deepest plates first, sums before products.

A node is a log-tensor with plates and latents. Within the deepest plates, the latents that live there are summed out of the
factors that they connect; then what is left is multiplied (log: summed) over the plates that no latent of it still needs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from vispec.model.model import Expression
from vispec.plan.axes import key, lag_of, present, unrolled
from vispec.plan.plan import Step


@dataclass(frozen=True)
class Pointer:
    """A latent that a factor reads at an index in the data: the element of `plate` at `index`."""

    latent: str
    plate: str
    index: Expression


@dataclass(frozen=True)
class Node:
    name: str
    plates: frozenset[str]
    latents: frozenset[str]  # axes, pasts included
    pointers: tuple[Pointer, ...] = ()  # for latents that live elsewhere

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(present(axis) for axis in self.latents)


@dataclass(frozen=True)
class Layout:
    """What elimination knows of the latents.

    home: the plates of each. chains: for each with a past, the plate it chains along. trees: for each tree, the plate whose
    elements have heads, which is among its home. joint: those whose joint values along a plate are enumerated in chunks.
    guided: those that a guide weighs, outside of exact sums. unroll: those that are summed out jointly along a plate, which is
    not in their home. keep: the plates of the total. order: sorts axis names."""

    home: Mapping[str, frozenset[str]]
    chains: Mapping[str, str]
    trees: Mapping[str, str]
    joint: frozenset[str]
    guided: frozenset[str]
    unroll: Mapping[str, str]
    keep: frozenset[str]
    order: "Order"


class IntractableError(Exception):
    """Latents of two plates that cross are coupled by a factor in both; summing them would need every joint assignment."""

    def __init__(self, plates: frozenset[str], latents: frozenset[str]):
        self.plates, self.latents = plates, latents
        super().__init__(f"{sorted(latents)} over {sorted(plates)}")


def eliminate(nodes: Sequence[Node], known: Layout) -> tuple[Step, ...]:
    """Steps that reduce the nodes to one, named 'total', in the plates that are kept.

    Raises IntractableError where a factor couples latents of crossing plates.
    """
    live, steps, home = list(nodes), list[Step](), known.home
    while True:
        leaf = next_leaf(live, home)
        if leaf <= known.keep and not any(node.latents for node in live):
            break
        here = [node for node in live if node.plates == leaf]
        rest = [node for node in live if node.plates != leaf]
        ahead = any(node.pointers for node in here)  # of deeper plates, whose elements are pointed at
        later = frozenset[str]().union(*(node.variables for node in rest)) if ahead else frozenset[str]()
        local = frozenset(v for node in live for v in node.variables if home[v] == leaf) - later
        pointing = [node for node in here if node.pointers and not node.variables - pointed_at(node) & local]
        if pointing:
            moved = [scatter(node, known, steps) for node in pointing]
            live = [node for node in live if node not in pointing] + moved
            continue
        for group, latents in components(here, local):
            if ahead and not any(node.pointers for node in group):
                rest += group
            else:
                rest.append(reduce_group(group, latents, leaf, known, steps))
        live = rest
    inputs = tuple(node.name for node in live)
    steps.append(Step(inputs, "total", known.order(known.keep), (), "add", (), "the parts of one row add up"))
    return tuple(steps)


def next_leaf(live: Sequence[Node], home: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The deepest plates; first those whose elements point into others, which need what is said there."""
    targets = [(node.plates, home[p.latent]) for node in live for p in node.pointers]
    ready = [node for node in live if not any(home == node.plates != plates for plates, home in targets)]
    if not ready:
        raise IntractableError(live[0].plates, frozenset().union(*(node.latents for node in live)))
    return max((node.plates for node in ready), key=lambda plates: (len(plates), sorted(plates)))


def components(here: Sequence[Node], local: frozenset[str]) -> list[tuple[list[Node], frozenset[str]]]:
    """Nodes grouped by the local latents that connect them."""
    groups: list[tuple[list[Node], frozenset[str]]] = []
    for node in here:
        touched = node.variables & local
        joined = [group for group in groups if group[1] & touched]
        merged = ([n for group in joined for n in group[0]] + [node], touched.union(*(group[1] for group in joined)))
        groups = [group for group in groups if group not in joined] + [merged]
    return groups


def reduce_group(group: list[Node], latents: frozenset[str], leaf: frozenset[str], known: Layout, steps: list[Step]) -> Node:
    """Sum out the group's local latents, then multiply over the plates that the result no longer needs."""
    order = known.order
    chained, rooted = frozenset(v for v in latents if v in known.chains), frozenset(v for v in latents if v in known.trees)
    structured = chained | rooted
    if structured and latents - structured:
        inner = components(group, latents - structured)
        group = [sum_out(sub, gone, leaf, known, steps) if gone else sub[0] for sub, gone in inner]
        latents = structured
    node = group[0]
    pointers = tuple(dict.fromkeys(pointer for each in group for pointer in each.pointers))
    if pointers and (structured or latents & {pointer.latent for pointer in pointers}):
        raise IntractableError(leaf, frozenset().union(*(each.latents for each in group)))
    if rooted:
        node = run_tree(group, structured, leaf, known, steps)
    elif chained:
        node = run_chain(group, chained, leaf, known, steps)
    elif latents:
        node = sum_out(group, latents, leaf, known, steps)
    if pointers:
        return scatter(replace(node, pointers=pointers), known, steps)
    needed = known.keep.union(*(known.home[present(axis)] for axis in node.latents))
    gone_plates = node.plates - needed
    if not gone_plates and not latents and node.latents:
        raise IntractableError(leaf, node.latents)
    small = gone_plates & {known.unroll[latent] for latent in node.latents if latent in known.unroll}
    node = multiply(node, gone_plates - small, steps, order)
    for plate in order(small):
        node = over_joint_values(node, plate, known, steps)
    return node


def multiply(node: Node, gone: frozenset[str], steps: list[Step], order: "Order") -> Node:
    """The product over the elements of plates."""
    if not gone:
        return node
    out = f"{node.name}_over_{'_'.join(order(gone))}"
    kept = node.plates - gone
    because = "elements are independent given what is left"
    steps.append(Step((node.name,), out, order(kept), order(node.latents), "product", order(gone), because))
    return Node(out, kept, node.latents)


def over_joint_values(node: Node, plate: str, known: Layout, steps: list[Step]) -> Node:
    """The product over the elements of a small plate, for every joint value of their latents."""
    out, kept = f"{node.name}_over_{plate}", node.plates - {plate}
    latents = frozenset(unrolled(axis, plate) if known.unroll.get(axis) == plate else axis for axis in node.latents)
    because = "each joint value picks its elements' own"
    steps.append(Step((node.name,), out, known.order(kept), known.order(latents), "unroll", (plate,), because))
    return Node(out, kept, latents)


def pointed_at(node: Node) -> frozenset[str]:
    return frozenset(pointer.latent for pointer in node.pointers)


def scatter(node: Node, known: Layout, steps: list[Step]) -> Node:
    """Add up, for each element that is pointed at, what the elements that point at it say of its latent."""
    if len({(p.latent, p.plate, key(p.index)) for p in node.pointers}) > 1:
        raise IntractableError(node.plates, node.latents)
    pointer = node.pointers[0]
    plates, order = known.home[pointer.latent], known.order
    gone, name = node.plates - (plates - {pointer.plate}), f"{node.name}_by_{pointer.plate}"
    because = "each element points at one in the data"
    inputs, latents = (node.name,), order(node.latents)
    steps.append(
        Step(inputs, name, order(plates), latents, "scatter", order(gone), because, into=pointer.plate, index=pointer.index)
    )
    return Node(name, plates, node.latents)


Order = Callable[[frozenset[str]], tuple[str, ...]]


def sum_out(group: list[Node], latents: frozenset[str], leaf: frozenset[str], known: Layout, steps: list[Step]) -> Node:
    """Add the log-factors and log-sum-exp over the latents: joint values first, which come in chunks, guided ones last."""
    order, joint = known.order, latents & known.joint
    if len(joint) > 1:
        raise IntractableError(leaf, latents)
    if joint and latents - joint:
        read = [node for node in group if node.variables & joint]
        group = [node for node in group if node not in read] + [sum_out(read, joint, leaf, known, steps)]
        latents -= joint
    guided = latents & known.guided
    if guided and latents - guided:
        inner = components(group, latents - guided)
        group = [sum_out(sub, gone, leaf, known, steps) if gone else sub[0] for sub, gone in inner]
        latents = guided
    free = remaining(group, latents)
    name = f"sum_{'_'.join(order(latents))}"
    axes = frozenset(axis for node in group for axis in node.latents if axis not in free)
    because = "all joint values along an unrolled plate" if axes != latents else "independent in each element of its plates"
    steps.append(Step(tuple(n.name for n in group), name, order(leaf), order(free), "sum", order(axes), because))
    return Node(name, leaf, free)


def run_chain(group: list[Node], latents: frozenset[str], leaf: frozenset[str], known: Layout, steps: list[Step]) -> Node:
    """One forward pass along the chain; several chained latents that are coupled are one with a joint state."""
    (plate,), order = {known.chains[v] for v in latents}, known.order
    free = remaining(group, latents)
    name = f"chain_{'_'.join(order(latents))}"
    order_of = max((lag_of(axis) for node in group for axis in node.latents), default=1)
    second = order_of == 2
    kind, state = ("second", " over pairs") if second else ("first", "")
    because = f"a {kind}-order chain along {plate}: one forward pass{state}"
    inputs = tuple(n.name for n in group)
    steps.append(Step(inputs, name, order(leaf - {plate}), order(free), "chain", order(latents), because, max(1, order_of)))
    return Node(name, leaf - {plate}, free)


def run_tree(group: list[Node], latents: frozenset[str], leaf: frozenset[str], known: Layout, steps: list[Step]) -> Node:
    """The sum over all trees; a tree whose arcs depend on another structure along the same plate has none."""
    if len(latents) > 1:
        raise IntractableError(leaf, latents)
    (tree,), order = latents, known.order
    free = remaining(group, latents)
    name, plates = f"trees_{tree}", leaf - {known.trees[tree]}
    because = f"a head for each element of {known.trees[tree]}: one elimination per element"
    steps.append(Step(tuple(n.name for n in group), name, order(plates), order(free), "tree", (tree,), because))
    return Node(name, plates, free)


def remaining(group: list[Node], latents: frozenset[str]) -> frozenset[str]:
    axes = frozenset[str]().union(*(node.latents for node in group))
    return frozenset(axis for axis in axes if present(axis) not in latents)
