"""Linear layers of what a net is given."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vispec.kernels.layers.counts import count_values, few_values


class OneHotLinear(nn.Embedding):
    """The linear layer of a one-hot input: index (*B) → (*B, width), a row of its weight, with the scale of nn.Linear.

    A relaxed index is the weights of its values (*B, K)."""

    def reset_parameters(self) -> None:
        bound = self.num_embeddings**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, index: Tensor) -> Tensor:
        return index @ self.weight if index.is_floating_point() else super().forward(index)


class CountLinear(nn.Linear):
    """The linear layer of how often each of V values is in a sequence: words (*B, T), of which mask (*B, T) count → (*B, H).

    Its weight is (V, H), so that the rows of the few that occur are added up. counts (*B, V): where they are known already."""

    def __init__(self, values: int, width: int, bias: bool = True):
        super().__init__(values, width, bias)
        self.weight = nn.Parameter(self.weight.detach().T.contiguous())

    def forward(self, words: Tensor, mask: Tensor | None, counts: Tensor | None = None) -> Tensor:
        if counts is not None:
            return self.times(counts)
        share = words.new_ones(words.shape, dtype=self.weight.dtype) if mask is None else mask.to(self.weight.dtype)
        if words.shape != share.shape:
            words, share = torch.broadcast_tensors(words, share)
        lead, (T, H) = words.shape[:-1], (words.shape[-1], self.weight.shape[1])
        if len(lead) != 1:
            words, share = words.reshape(lead.numel(), T), share.reshape(lead.numel(), T)
        if few_values(words, len(self.weight)) and not share.requires_grad:
            rows = self.times(count_values(words, len(self.weight), share, share))
        else:
            if words.numel():
                rows = F.embedding_bag(words, self.weight, mode="sum", per_sample_weights=share)
            else:  # which embedding_bag refuses
                rows = share.new_zeros(len(words), H)
            rows = rows if self.bias is None else rows + self.bias
        return rows if len(lead) == 1 else rows.view(*lead, H)

    def times(self, counts: Tensor) -> Tensor:
        """counts (*B, V) → (*B, H); with F.linear, the weight's gradient would have to be transposed."""
        if self.bias is not None and counts.dim() == 2:
            return torch.addmm(self.bias, counts, self.weight)
        return counts @ self.weight if self.bias is None else counts @ self.weight + self.bias
