"""Labels of a linear chain by a rule. They stay outside the model."""

import torch
from torch import Tensor

from vispec.kernels.sums.algebra import chain_total, maximum, sampled
from vispec.kernels.sums.chain import chain_log_prob


def decide_labels(scores: Tensor, move: Tensor, length: Tensor | None, rule: str, read: bool) -> Tensor:
    """Labels (*B, n) by the rule "sample" or "mode", the best all together (Viterbi, 1967); "mean" is (*B, n, K), each label's
    probability, unless read. scores (*B, n, K); move (K, K) or (*B, K, K), of the label before and its own; in nats."""
    total = {"sample": sampled, "mean": maximum if read else None, "mode": maximum}[rule]
    with torch.enable_grad():
        scores = scores.detach().requires_grad_()
        init, step = scores.new_zeros(scores.shape[-1]), move.detach() if move.dim() == 2 else move.detach().unsqueeze(-3)
        given = (init, step, scores, length)
        log_z = chain_log_prob(*given) if total is None else chain_total(total, *given)
        (found,) = torch.autograd.grad(log_z.sum(), scores)
    return found if total is None else found.argmax(-1)
