"""Linear layers of what a net is given."""

from torch import Tensor, nn


class OneHotLinear(nn.Embedding):
    """The linear layer of a one-hot input: index (*B) → (*B, width), a row of its weight, with the scale of nn.Linear.

    A relaxed index is the weights of its values (*B, K)."""

    def reset_parameters(self) -> None:
        bound = self.num_embeddings**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, index: Tensor) -> Tensor:
        return index @ self.weight if index.is_floating_point() else super().forward(index)
