"""How well a model with guides uses its latents, by draws at some of the rows; all in nats, as means over rows.

KL(q(z | x) ‖ p(z)) of each latent; active units, those whose posterior mean varies over rows, Cov_x(E_q[u]) > 0.01 (Burda,
Grosse and Salakhutdinov 2016); the effective sample size of importance weights, (Σ w)² / Σ w² of each row.
"""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vispec.train.scores.counted import spread, weight_of
from vispec.train.scores.moments import chunks
from vispec.train.store.module import evaluating, to_device

ROWS, DRAWS = 200, 64
PRECISE, RELATIVE, MOST = 0.01, 1e-4, 4096  # what rows share is drawn until its KL has such an error, in nats or of it
AT_ONCE = 256  # rows × draws that are weighed at once, about as many as a minibatch has: a decoder may be large
COLLAPSED = 0.01  # nats a row: a latent whose KL is below tells nothing of its row
ACTIVE = 0.01  # of a unit's variance over rows


class Data(Protocol):
    @property
    def num_rows(self) -> int: ...

    def batch(self, indices: Any) -> dict[str, Tensor]: ...


def diagnose(
    module: nn.Module,
    data: Data,
    size: int,
    device: torch.device,
    seed: int = 0,
    own: bool = True,
    divergent: bool = True,
) -> dict[str, Any] | None:
    """What draws at up to ROWS rows say; None where no latent of a row has a guide and nothing is weighed.

    own: rows have drawn latents of their own; weights say nothing of those that rows share, whose own part is not in them.
    divergent: all that rows share has a divergence, and is not a point estimate."""
    weighed, guided = hasattr(module, "log_weights"), hasattr(module, "divergences")
    if not (weighed or guided) or not data.num_rows:
        return None
    sizes, found = list[Tensor](), dict[str, list[tuple[Tensor, Tensor | None]]]()
    with evaluating(module, seed, device):
        for batch in batches(data, size, device):
            if weighed and own:
                sizes.append(effective(weights(module, batch)))
            told = module.divergences(batch, DRAWS) if guided else {}  # pyright: ignore[reportCallIssue]
            for name, (ratio, drawn) in told.items():
                part = (-ratio.double().mean(0).cpu(), None if drawn is None else halves(drawn))
                found.setdefault(name, []).append(part)
        shared, error = shared_divergence(module) if divergent and hasattr(module, "shared") else (None, None)
    latents = {name: of_latent(parts) for name, parts in found.items()}
    return {
        "rows": min(ROWS, data.num_rows),
        "samples": DRAWS,
        "latents": latents,
        "shared_kl": shared,
        "shared_kl_error": error,
        "effective_samples": float(torch.cat(sizes).mean()) if sizes else None,
        "posterior_collapse": [name for name, told in latents.items() if told["collapsed"]],
        "collapse_below": COLLAPSED,
    }


def batches(data: Data, size: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Rows from all of the data, at equal distances; of rows that stand for several, among those."""
    count = min(ROWS, data.num_rows)
    indices = np.linspace(0, data.num_rows - 1, count).round().astype(int)
    if weight_of(data) is not None:
        indices = spread(data, count)
    for start in range(0, count, size):
        yield to_device(data.batch(indices[start : start + size]), device)


def weights(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Log-weights (DRAWS, B), a few draws at a time."""
    rows = len(next(iter(batch.values())))
    sizes = chunks(DRAWS, max(1, AT_ONCE // rows))
    return torch.cat([module.log_weights(batch, size) for size in sizes])  # pyright: ignore[reportCallIssue]


def effective(log_weight: Tensor) -> Tensor:
    """(Σ w)² / Σ w² of log-weights (S, B), from 1 to S for each row; 0 where all weights are 0."""
    share = log_weight.double().softmax(0)
    return torch.where(log_weight.amax(0) > -torch.inf, 1 / share.square().sum(0), 0.0).cpu()


def halves(drawn: Tensor) -> Tensor:
    """Means over either half of draws (S, B, ...): (2, B, ...) as numbers."""
    return torch.stack([half.double().mean(0) for half in drawn.chunk(2)]).cpu()


def of_latent(parts: list[tuple[Tensor, Tensor | None]]) -> dict[str, Any]:
    """One latent's KL, and how many of its units are active, by means over either half of the draws, whose errors are apart."""
    kl = float(torch.cat([kl for kl, _ in parts]).mean())
    told: dict[str, Any] = {"kl": kl, "collapsed": kl < COLLAPSED, "active_units": None, "units": None}
    means = [mean for _, mean in parts if mean is not None]
    if means:
        one, other = torch.cat(means, 1).flatten(2) if means[0].dim() > 2 else torch.cat(means, 1).unsqueeze(-1)
        variance = ((one - one.mean(0)) * (other - other.mean(0))).sum(0) / max(len(one) - 1, 1)
        told |= {"active_units": int((variance > ACTIVE).sum()), "units": len(variance)}
    return told


def shared_divergence(module: nn.Module) -> tuple[float, float]:
    """KL of all that rows share together, for the whole of the data, as a mean over draws, and its standard error."""
    found, error = Tensor(), math.inf
    while len(found) < MOST and error > max(PRECISE, RELATIVE * abs(float(found.mean()))):  # of nan, more draws mend nothing
        more = [module.shared()[-1] for _ in range(max(DRAWS, len(found)))]  # pyright: ignore[reportCallIssue]
        found = torch.cat([found, torch.stack(more).double().cpu()])
        error = float(found.std()) / math.sqrt(len(found))
    return -float(found.mean()), error


def described(told: dict[str, Any]) -> Iterator[str]:
    """The diagnostics for a reader."""
    for name, latent in told["latents"].items():
        units = "" if latent["units"] is None else f", {latent['active_units']} of {latent['units']} units active"
        yield f"KL of {name}: {latent['kl']:.4g} nats per row{units}"
    if told["effective_samples"] is not None:
        whose = "" if told["shared_kl"] is None else " of each row's own latents"
        yield f"effective samples{whose}: {told['effective_samples']:.3g} of {told['samples']}"
    for name in told["posterior_collapse"]:
        yield f"posterior collapse: {name} tells nothing of its row (KL below {told['collapse_below']} nats)"
