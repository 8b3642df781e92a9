"""What the layers of a checked net's trunk demand, before any of it is emitted: settings, causality, what flows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vispec.catalog import networks

if TYPE_CHECKING:
    from vispec.model.model import Embedding, Net, Stage


@dataclass(frozen=True)
class TrunkProblem:
    """Something that no emitted net could do. stage None: the trunk as a whole."""

    stage: Stage | None
    message: str
    help: str | None = None


def bind(stage: Stage) -> dict[str, Any]:
    """The stage's settings by option name, defaults filled in. Positions are for options that are no flags, in their order."""
    options = networks()[stage.layer].options
    settings = {name: option.default for name, option in options.items()}
    settings |= zip((name for name, option in options.items() if option.kind != "flag"), stage.args, strict=False)
    settings |= stage.kwargs
    return settings


def noncausal_stage(net: Net) -> Stage | None:
    """The first layer that reads elements ahead of its own, which no net may do that is asked for prefixes."""
    return next((stage for stage in net.trunk if not is_causal(stage)), None)


def is_causal(stage: Stage) -> bool:
    causal = networks()[stage.layer].causal
    return not bind(stage)[causal] if isinstance(causal, str) else causal


def reads_memory(stage: Stage) -> bool:
    """Whether the layer looks things up in the last of several sequences."""
    memory = networks()[stage.layer].memory
    return bind(stage)[memory] if isinstance(memory, str) else memory


def memory_argument(net: Net, prefixes: Collection[str] = ()) -> str | None:
    """The last of several sequence arguments, where some layer reads it from the states of the others; one that is called
    with a prefix is never read so."""
    sequences = [name for name, type in net.args if type.star]
    if len(sequences) < 2 or not any(map(reads_memory, net.trunk)):
        return None
    return next((name for name in reversed(sequences) if name not in prefixes), None)


def reads_beside(net: Net) -> bool:
    """Whether some layer reads arguments without a star beside each element of a sequence, and then other elements, so that
    what it made of an element is of no use where these arguments differ."""
    layers = [networks()[stage.layer] for stage in net.trunk]
    while layers and layers[0].embeds and layers[0].sequence == "element":
        layers = layers[1:]
    pooled = bool(layers) and layers[0].pools and memory_argument(net) is None
    return not pooled and any(layer.sequence != "element" for layer in layers)


def trunk_problems(net: Net) -> Iterator[TrunkProblem]:
    """Where what flows through the trunk is not what a layer or a head takes; each setting by itself is of its kind."""
    for name, type in net.args:
        if type.domain in ("index", "tree") and type.card is None:
            yield TrunkProblem(None, f"`{name}` points into a plate of unknown size, so no table can have a row for each value")
    sequence = any(type.star for _, type in net.args)
    image = any(not type.star and len(type.shape) > 1 for _, type in net.args)
    labels = {type.card for _, type in net.args if type.domain in ("category", "token", "index")}
    for position, stage in enumerate(net.trunk):
        layer = networks()[stage.layer]
        if layer.problem and (message := layer.problem(position, **bind(stage))):
            yield TrunkProblem(stage, message)
        if isinstance(layer.memory, str) and reads_memory(stage) and memory_argument(net) is None:
            what = f"with `{layer.memory}`, `{layer.name}` looks things up in a second sequence, and `{net.name}` takes one"
            yield TrunkProblem(stage, what, "add an argument with a star, such as `memory: real[64]*`")
        table = table_of(stage)
        if layer.embeds and not labels:
            yield TrunkProblem(
                stage, f"`{layer.name}` has nothing to embed: no token, category or index arrives here as itself"
            )
        elif table and not layer.outputs and table.rows not in labels:
            message = (
                f"`{table.name}` has a row for each of {table.rows} values, and no argument over these arrives here as itself"
            )
            yield TrunkProblem(stage, message)
        if not (layer.sequence == "element" or sequence or (image and layer.sequence == "both")):
            what = "a sequence" if layer.sequence == "sequence" else "an image or a sequence"
            yield TrunkProblem(stage, f"`{layer.name}` needs {what}, and none is left here", "a sequence's type has a star")
        if table and layer.embeds and layer.sequence == "element":
            labels -= {table.rows}
        elif not (image and layer.sequence == "both"):
            labels = set()
        sequence = sequence and (not layer.pools or memory_argument(net) is not None)
        image = image and layer.sequence != "both"
    yield from _head_problems(net, sequence)
    yield from _output_problems(net)


def table_of(stage: Stage) -> Embedding | None:
    """The table that the stage reads or gives outputs by, where it is one of the model's."""
    options = networks()[stage.layer].options
    tables = (value for name, value in bind(stage).items() if name in options and options[name].kind in ("table", "embedding"))
    return next((value for value in tables if value is not None and not isinstance(value, int | str)), None)


def _output_problems(net: Net) -> Iterator[TrunkProblem]:
    """A layer in the place of the last one: what it gives is the one head, and its weights are those of a table."""
    for position, stage in enumerate(net.trunk):
        if not networks()[stage.layer].outputs:
            continue
        table, (_, type), *others = table_of(stage), *net.heads
        if position + 1 < len(net.trunk):
            yield TrunkProblem(stage, f"`{stage.layer}` gives the outputs, and so comes last")
        elif table is not None and (others or type.domain not in ("simplex", "real") or type.shape != (table.rows,)):
            message = f"`{stage.layer}({table.name})` gives a number for each of {table.rows} values, and nothing else"
            yield TrunkProblem(stage, message, f"let `{net.name}` give simplex[{table.rows}]")
        if net.prior is not None or stage.prior is not None:
            yield TrunkProblem(
                stage, "the weights of the outputs are those of a table, which has no prior", "leave out the prior"
            )


def _head_problems(net: Net, sequence: bool) -> Iterator[TrunkProblem]:
    starred = any(type.star for _, type in net.heads)
    if starred and not all(type.star for _, type in net.heads):
        yield TrunkProblem(None, f"some heads of `{net.name}` are sequences and some are not", "star all of them or none")
    if starred and not sequence:
        yield TrunkProblem(None, f"`{net.name}` gives a sequence, but its trunk ends in one vector")
    for name, type in net.heads:
        if type.domain in ("category", "token", "index", "tree"):
            help = f"let `{name or net.name}` give simplex[...] instead"
            yield TrunkProblem(None, f"a net cannot give a {type.domain}", help)
