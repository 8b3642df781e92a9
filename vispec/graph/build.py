"""Model → ModelGraph: who reads whom, in which plates.

An edge runs from what is read to its reader. The model's own edges other than those into the past form a directed acyclic
graph; edges of the guide usually run against them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import networkx as nx

from vispec.graph.reads import Read, reads
from vispec.model.model import Embedding, Let, Model, Net, Param, Plate, Stage, Variable
from vispec.model.walk import grown_trees
from vispec.trunk import table_of


@dataclass(frozen=True)
class ModelGraph:
    """The model's directed multigraph.

    A node is a name with: kind ("variable", "param", "let", "net", "embedding"), role (of a variable; "latent" for a net with a
    prior; else None), plates (outermost first), type (None for nets and embeddings), span, guide (True for a `let` of a guide).
    An edge has: access (see graph.reads), past (it reaches into the past; or what a tree's elements decide reads them, each of
    of which is there before what hangs from it), lag (how far, None for a whole prefix), plate (along which it reaches past its
    own element), via (the nets on the way), guide (it belongs to the guide). Two edges between the same nodes differ in some of
    these.
    """

    model: Model
    graph: nx.MultiDiGraph

    @cached_property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The nodes in each plate, in the order of declaration."""
        plates = {name: data["plates"] for name, data in self.graph.nodes(data=True)}
        return {
            plate.name: tuple(n for n, inside in plates.items() if plate.name in inside)
            for plate in self.model.plates
            if not plate.implicit
        }

    @property
    def crossed(self) -> tuple[tuple[str, str], ...]:
        """The pairs of plates that share nodes while neither holds all of the other's."""
        return tuple(pair for pair in combinations(self.members, 2) if crosses(*(set(self.members[plate]) for plate in pair)))


def crosses(one: set[str], two: set[str]) -> bool:
    """Whether two sets of nodes overlap without either lying in the other."""
    return bool(one & two) and not one <= two and not two <= one


def build_graph(model: Model) -> ModelGraph:
    """The graph of a checked model; nothing of it depends on sizes."""
    graph = nx.MultiDiGraph(name=model.name)
    for node in (*model.params, *model.embeddings, *model.nets, *model.variables, *model.lets):
        graph.add_node(node.name, **_attributes(node, model))
    for let in model.guide_lets:
        graph.add_node(let.name, **_attributes(let, model) | {"guide": True})
    grown = {name: model.variable[name].type.plate for name in grown_trees(model)}
    for reader, read, guide in _all_reads(model):
        _connect(graph, reader, read, guide, grown)
    return ModelGraph(model, graph)


def drawn_plates(node: Param | Variable | Let, model: Model) -> tuple[str, ...]:
    """The plates around a node that the text has."""
    return tuple(plate for plate in node.plates if not model.plate[plate].implicit)


def _attributes(node: Param | Embedding | Net | Variable | Let, model: Model) -> dict[str, object]:
    kind = type(node).__name__.lower()
    role = node.role if isinstance(node, Variable) else "latent" if isinstance(node, Net) and node.random else None
    plates = () if isinstance(node, Net | Embedding) else drawn_plates(node, model)
    type_ = None if isinstance(node, Net | Embedding) else node.type
    return {"kind": kind, "role": role, "plates": plates, "type": type_, "span": node.span, "guide": False}


def _all_reads(model: Model) -> Iterator[tuple[str, Read, bool]]:
    """(reader, what it reads, whether the guide reads it)."""
    for net in model.nets:
        yield from ((net.name, read, False) for prior in _priors(net.prior, net.trunk) for read in reads(prior))
        tables = dict.fromkeys(table.name for stage in net.trunk if (table := table_of(stage)))
        yield from ((net.name, Read(table, "own"), False) for table in tables)
    for variable in model.variables:
        yield from ((variable.name, read, False) for read in reads(variable.law))
    for let in model.lets:
        yield from ((let.name, read, False) for read in reads(let.value))
    for law in model.guide:
        yield from ((law.name, read, True) for read in reads(law.law))
    for let in model.guide_lets:
        yield from ((let.name, read, True) for read in reads(let.value))


def _priors(prior: object, trunk: Iterable[Stage]) -> list:
    return [law for law in (prior, *(stage.prior for stage in trunk)) if law is not None]


def _connect(graph: nx.MultiDiGraph, reader: str, read: Read, guide: bool, grown: Mapping[str, str | None]) -> None:
    if read.name not in graph:
        raise AssertionError(f"{reader!r} reads {read.name!r}, which the model does not declare")
    past = read.access in ("past", "prefix") or (read.access == "all" and read.plate == grown.get(reader))
    facts = {"access": read.access, "past": past, "lag": read.lag, "plate": read.plate, "via": read.via, "guide": guide}
    graph.add_edge(read.name, reader, key=tuple(facts.values()), **facts)


def show_graph(graph: ModelGraph) -> str:
    """The printed form: one line per plate and node, each node followed by what it reads."""
    lines = [f"graph {graph.model.name}"]
    lines += [_show_plate(plate, graph) for plate in graph.model.plates if not plate.implicit]
    for name, data in graph.graph.nodes(data=True):
        where = f" in {', '.join(data['plates'])}" if data["plates"] else ""
        type_ = f" : {data['type']}" if data["type"] else ""
        lines.append(f"  {data['role'] or data['kind']} {name}{type_}{where}")
        lines += [f"    <- {_show_edge(source, edge)}" for source, _, edge in graph.graph.in_edges(name, data=True)]
    lines += [f"  {one} crosses {two}" for one, two in graph.crossed]
    return "\n".join(lines) + "\n"


def _show_plate(plate: Plate, graph: ModelGraph) -> str:
    size = f"[{plate.size}]" if plate.size is not None else ""
    return f"  {plate.kind} {plate.name}{size}: {', '.join(graph.members[plate.name])}"


def _show_edge(source: str, edge: dict) -> str:
    shown = {"all": f"{source}[*]", "prefix": f"{source}[<]", "past": f"{source}[-{edge['lag']}]", "select": f"{source}[...]"}
    via = f" via {', '.join(edge['via'])}" if edge["via"] else ""
    return shown.get(edge["access"], source) + via + (" (guide)" if edge["guide"] else "")
