"""Linear layers of what a net is given."""

from torch import nn


class OneHotLinear(nn.Embedding):
    """The linear layer of a one-hot input: index (*B) → (*B, width), a row of its weight, with the scale of nn.Linear."""

    def reset_parameters(self) -> None:
        bound = self.num_embeddings**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
