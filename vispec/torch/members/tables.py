"""Tables of vectors that nets share, as the constructor makes them."""

from __future__ import annotations

from collections.abc import Iterator

from vispec.catalog import networks
from vispec.model.model import Embedding, Model
from vispec.torch.members.parameters import local
from vispec.torch.text.names import ModuleNames
from vispec.trunk import table_of


def table_lines(table: Embedding, model: Model, names: ModuleNames) -> Iterator[str]:
    """A row for each value. Where they are weights of an output layer too, they begin as small as such weights."""
    name, width = names.attribute("net", table.name), local(table.width, names)
    yield f"self.{name} = nn.Embedding({local(table.rows, names)}, {width})"
    if any(networks()[stage.layer].outputs and table_of(stage) == table for net in model.nets for stage in net.trunk):
        whole = width if width.isidentifier() or width.isdigit() else f"({width})"
        yield f"nn.init.normal_(self.{name}.weight, std={whole}**-0.5)  # outputs are made by it too"
    if table.frozen:
        yield f"self.{name}.requires_grad_(False)  # frozen"
