"""KL divergences in closed form, where they are cheaper than torch.distributions makes them; in nats, elementwise."""

from torch import Tensor


def kl_normal_standard(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale²) ‖ N(0, 1)) = ½(scale² + loc² − 1) − log scale."""
    return 0.5 * (scale.square() + loc.square() - 1) - scale.log()


def kl_normal_normal(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """KL(N(q_loc, q_scale²) ‖ N(p_loc, p_scale²))."""
    ratio = q_scale / p_scale
    return 0.5 * (ratio.square() + ((q_loc - p_loc) / p_scale).square() - 1) - ratio.log()
