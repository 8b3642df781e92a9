"""One parse of each row, the best or a drawn one, with all of its nodes: where they begin and end, and their labels."""

import torch
from torch import Tensor

from vispec.kernels.trees.brackets import algebra_of, told_of


class Phrased:
    """The algebra of a rule, "mode" or "sample", under which a sum over parses asks for its phrases: tilts, one for each such
    sum in turn, whose gradient is 1 for the label of each stretch that the parse has."""

    def __init__(self, rule: str, bars: Tensor | None = None):
        self.total, self.bars, self.tilts = algebra_of(rule), bars, list[Tensor]()

    def tilt(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What a sum adds to the scores of its phrases: nothing, or bars, -inf at those that may not stand."""
        start = like.new_zeros(shape) if self.bars is None else self.bars.to(like.dtype).view(shape)
        self.tilts.append(start.detach().clone().requires_grad_())
        return self.tilts[-1]

    def __call__(self, x: Tensor) -> Tensor:
        return self.total(x)


def one_parse(
    tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], name: str, rule: str, draws: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the parse by the rule 1 at the labels of its phrases (*B, n, n, S) and of its elements (*B, n, P); and which elements
    count, if the row has a parse (*B, n). *B: rows, and plates in them that have a parse each."""
    algebra, own = Phrased(rule), tilt[name].requires_grad_()
    with torch.enable_grad():
        score = tilted(batch, algebra, tilt)
        phrases, leaves = torch.autograd.grad(score.sum(), (*algebra.tilts, own), allow_unused=True, materialize_grads=True)
    phrases = phrases.sum(0) if draws else phrases
    more = phrases.dim() - own.dim() - 1
    phrases = phrases.flatten(1, more).sum(1) if more > 0 else phrases  # of the components that a row has beside
    known = inside.get(name, torch.ones_like(own[..., 0], dtype=torch.bool))
    known = known & (score > -torch.inf).view(-1, *[1] * (known.dim() - 1))
    return phrases, leaves, known


def told_parses(module, batch: dict[str, Tensor], rule: str, names: tuple[str, ...], one: bool, draws: bool = False) -> dict:
    """Parses (B, n, 4) by the rule "mode" or "sample", as data tell them (kernels/trees/brackets.py); for "mean" and "probs"
    the probabilities of each element's labels (B, n, P). ValueError for another rule. one: whether names is of all that is
    summed."""
    if rule in ("mean", "probs"):
        found = module.posterior(batch, "marginals")
        return {name: found[name] for name in names}
    if not one:
        raise ValueError("parses beside other latents are told by the rule mean, or by `posterior --query tree`")
    found = {}
    for name in names:
        tilt, inside = module.unknowns(batch)
        phrases, leaves, known = one_parse(module.tilted, batch, tilt, inside, name, rule, draws)
        found[name] = told_of(phrases, leaves, known.sum(-1))
    return found


def best_parse(tilted, batch: dict[str, Tensor], tilt: dict, inside: dict, name: str, draws: bool = False) -> Tensor:
    """The nodes of the most probable parse of each row in preorder (B, 2 n - 1, 3): first element, last element, and label, a
    symbol or, from the number of symbols on, the preterminal of an element. -1 past a row's end, and where there is no parse.

    tilt: of nothing, for each latent, (B, n, P) for the parse; inside: (B, n), which elements count, of ragged plates. draws:
    whether the sum is over one draw of other latents, which stands first."""
    return in_preorder(*one_parse(tilted, batch, tilt, inside, name, "mode", draws), apart=True)


def drawn_parse(tilted, batch: dict[str, Tensor], tilt: dict, inside: dict, name: str, draws: bool = False) -> Tensor:
    """The same of a parse drawn from the posterior."""
    return in_preorder(*one_parse(tilted, batch, tilt, inside, name, "sample", draws), apart=True)


def best_spans(tilted, batch: dict[str, Tensor], tilt: dict, inside: dict, name: str, draws: bool = False) -> Tensor:
    """As best_parse, where single elements have the labels of phrases."""
    return in_preorder(*one_parse(tilted, batch, tilt, inside, name, "mode", draws), apart=False)


def drawn_spans(tilted, batch: dict[str, Tensor], tilt: dict, inside: dict, name: str, draws: bool = False) -> Tensor:
    """The same of a tree drawn from the posterior."""
    return in_preorder(*one_parse(tilted, batch, tilt, inside, name, "sample", draws), apart=False)


def in_preorder(phrases: Tensor, leaves: Tensor, known: Tensor, apart: bool) -> Tensor:
    """The nodes (*B, 2 n - 1, 3) of what one_parse finds; apart: labels of elements are numbered after those of phrases."""
    n, symbols = phrases.shape[-2:]
    wide = torch.ones(n, n, dtype=torch.bool, device=phrases.device).triu(1)
    there = ((phrases.amax(-1) > 0.5) & wide & known.unsqueeze(-2)) | torch.diag_embed(known)
    label = torch.where(wide, phrases.argmax(-1), torch.diag_embed(symbols * apart + leaves.argmax(-1)))
    there, label = there.flip(-1).flatten(-2), label.flip(-1).flatten(-2)  # by first element, the longest from there first
    order = (~there).int().argsort(dim=-1, stable=True)[..., : 2 * n - 1]
    nodes = torch.stack([order // n, n - 1 - order % n, label.gather(-1, order)], -1)
    return nodes.masked_fill(~there.gather(-1, order)[..., None], -1)
