"""The k best parses of each row (Lawler 1972): what is left beside a parse falls apart by the first of its nodes, in preorder,
that another does not have. Each part has a best parse of its own, under bars: -inf at nodes that may not stand, as they are
left out or as they cross one that is kept."""

import torch
from torch import Tensor

from vispec.kernels.told.queries import ranked
from vispec.kernels.trees.phrases import Phrased, in_preorder


def k_best_parses(tilted, batch: dict[str, Tensor], tilt: dict, inside: dict, name: str, k: int, apart: bool) -> dict:
    """The nodes of the k best parses, as best_parse has them (B, k, 2 n - 1, 3), and their log-joints (B, k) in nats as
    "(log_joint)"; where there are fewer, the rest have log-joint -inf. apart: whether labels of elements are numbered after
    those of phrases."""
    B, n, P = tilt[name].shape
    own = torch.zeros(B, n, P, device=tilt[name].device)

    def best(bars: Tensor, leaves: Tensor) -> tuple[Tensor, ...]:  # log-joint (B,), nodes (B, 2 n - 1, 3), and the bars
        algebra, at = Phrased("mode", bars if bars.numel() else None), (tilt[name] + leaves).detach().requires_grad_()
        with torch.enable_grad():
            score = tilted(batch, algebra, tilt | {name: at})
            found = torch.autograd.grad(score.sum(), (*algebra.tilts, at), allow_unused=True, materialize_grads=True)
        known = inside.get(name, torch.ones_like(at[..., 0], dtype=torch.bool)) & (score > -torch.inf)[:, None]
        bars = bars if bars.numel() else torch.zeros_like(found[0])
        return score.detach(), in_preorder(found[0], found[1], known, apart), bars, leaves

    pool = [part.unsqueeze(1) for part in best(own.new_zeros(0), own)]
    symbols, solutions = pool[2].shape[-1], list[tuple[Tensor, Tensor]]()
    for left in range(k - 1, -1, -1):
        score, nodes, bars, leaves = (part[:, 0] for part in pool)
        solutions.append((score, nodes))
        pool = [part[:, 1:] for part in pool]
        for node in nodes.unbind(1) if left else ():
            there = (node[:, 0] >= 0) & (score > -torch.inf)
            without = best(*left_out(bars, leaves, node, symbols * apart))
            pool = ranked(pool, (without[0].masked_fill(~there, -torch.inf), *without[1:]), left)
            bars, leaves = with_kept(bars, leaves, node, symbols * apart)
        if left and pool[0].shape[1] == 0:
            pool = [part.unsqueeze(1) for part in (torch.full_like(score, -torch.inf), nodes, bars, leaves)]
    return {name: torch.stack([nodes for _, nodes in solutions], 1), "(log_joint)": torch.stack([s for s, _ in solutions], 1)}


def left_out(bars: Tensor, leaves: Tensor, node: Tensor, apart: int) -> tuple[Tensor, Tensor]:
    """Bars of phrases (B, n, n, S) and of elements (B, n, P), also at a node (B, 3) of each row."""
    over, single = is_node(bars, leaves, node, apart)
    return bars.masked_fill(over, -torch.inf), leaves.masked_fill(single, -torch.inf)


def with_kept(bars: Tensor, leaves: Tensor, node: Tensor, apart: int) -> tuple[Tensor, Tensor]:
    """The same, also at what cannot stand beside the node."""
    over, single = is_node(bars, leaves, node, apart)
    at = torch.arange(bars.shape[1], device=bars.device)
    first, last, i, j = at[:, None], at, node[:, 0, None, None], node[:, 1, None, None]
    cross = ((first < i) & (i <= last) & (last < j)) | ((i < first) & (first <= j) & (j < last))
    phrase, element = (over.flatten(1).any(1), single.flatten(1).any(1))
    other = (over.any(-1, keepdim=True) & ~over) | cross[..., None]
    bars = bars.masked_fill(other & phrase[:, None, None, None], -torch.inf)
    return bars, leaves.masked_fill(single.any(-1, keepdim=True) & ~single & element[:, None, None], -torch.inf)


def is_node(bars: Tensor, leaves: Tensor, node: Tensor, apart: int) -> tuple[Tensor, Tensor]:
    """Where a node stands among phrases and among elements."""
    first, last, label = (each[:, None, None, None] for each in node.unbind(1))
    (n, S), P = bars.shape[2:], leaves.shape[2]
    at = torch.arange(n, device=bars.device)
    over = (
        (at[:, None, None] == first) & (at[:, None] == last) & (torch.arange(S, device=bars.device) == label) & (first < last)
    )
    single = (at[:, None] == first[..., 0]) & (torch.arange(P, device=bars.device) == label[..., 0] - apart)
    return over, single & (first == last)[..., 0]
