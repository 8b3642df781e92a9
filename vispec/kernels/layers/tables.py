"""Tables of vectors that several nets share: the model has each once, and with it its numbers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Shared:
    """A table of the model's in a net that reads it; no submodule of the net, so that the model's state has it once."""

    def __init__(self, table: nn.Embedding):
        self.table = table

    def __call__(self, index: Tensor) -> Tensor:
        return self.table(index)

    @property
    def weight(self) -> Tensor:
        return self.table.weight


class Tied(nn.Module):
    """An output layer h Eᵀ + b, with the rows of a table of the model's."""

    def __init__(self, table: nn.Embedding):
        super().__init__()
        self.rows = Shared(table)
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))

    @property
    def weight(self) -> Tensor:
        return self.rows.weight

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight, self.bias)
