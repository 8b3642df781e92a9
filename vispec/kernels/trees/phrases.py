"""The best parse of each row, told by all of its nodes: where they begin and end, and their labels."""

import torch
from torch import Tensor

from vispec.kernels.sums.algebra import maximum


class Phrased:
    """The algebra of maxima, under which a sum over parses asks for its phrases: tilts, one for each such sum in turn, whose
    gradient is 1 for the symbol of each stretch that the best parse has."""

    def __init__(self):
        self.tilts = list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        return maximum(x)


def best_parse(
    tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], name: str, draws: bool = False
) -> Tensor:
    """The nodes of the most probable parse of each row in preorder (B, 2 n - 1, 3): first element, last element, and label, a
    symbol or, from the number of symbols on, the preterminal of an element. -1 past a row's end, and where there is no parse.

    tilt: of nothing, for each latent, (B, n, P) for the parse; inside: (B, n), which elements count, of ragged plates. draws:
    whether the sum is over one draw of other latents, which stands first."""
    algebra, own = Phrased(), tilt[name].requires_grad_()
    with torch.enable_grad():
        score = tilted(batch, algebra, tilt)
        phrases, leaves = torch.autograd.grad(score.sum(), (*algebra.tilts, own), allow_unused=True, materialize_grads=True)
    phrases = phrases.sum(0) if draws else phrases
    phrases = phrases.flatten(1, -4).sum(1) if phrases.dim() > 4 else phrases  # of the components that a row has beside
    n, symbols = phrases.shape[-2:]
    known = inside.get(name, torch.ones_like(own[..., 0], dtype=torch.bool)) & (score > -torch.inf)[:, None]
    there = ((phrases.amax(-1) > 0.5) & known[:, None]) | torch.diag_embed(known)
    label = phrases.argmax(-1) + torch.diag_embed(symbols + leaves.argmax(-1))
    there, label = there.flip(-1).flatten(1), label.flip(-1).flatten(1)  # by first element, the longest from there first
    order = (~there).int().argsort(dim=1, stable=True)[:, : 2 * n - 1]
    nodes = torch.stack([order // n, n - 1 - order % n, label.gather(1, order)], -1)
    return nodes.masked_fill(~there.gather(1, order)[..., None], -1)
