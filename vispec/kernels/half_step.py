"""The quotient of gamma functions half a step apart, which norms Student's t and matrices of correlations."""

from torch import Tensor


def log_half_step(h: Tensor) -> Tensor:
    """log Γ(h + ½) - log Γ(h) - ½ log h elementwise for h > 0 in float64; -1 / 8h for large h.

    By its series (Tricomi and Erdélyi 1951) eight steps up, at y = h + 8: the quotient there is that at h times the product of
    (h + i + 0.5) / (h + i) for i from 0 to 7, and (h + i) (h + 7 - i) = u + i (7 - i)."""
    y, u, v = h + 8, h * (h + 7), (h + 0.5) * (h + 7.5)
    z = 1 / (y * y)
    series = -1 / 8 + z * (1 / 192 + z * (-1 / 640 + z * (17 / 14336 + z * (-31 / 18432 + z * (691 / 180224)))))
    below, above = u * (u + 6) * (u + 10) * (u + 12), v * (v + 6) * (v + 10) * (v + 12)
    return (below / above).log() + 0.5 * (y / h).log() + series / y
