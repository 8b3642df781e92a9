"""Regression: emitted by vispec from regression.vispec; imports torch and nothing else.

    log_prob: exact


    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# constraints: softplus_inverse
# heap: keep_pages
# layers.standardise: Standardise
# layers.standardise: learn_scales
# starts: by_group
# starts: kept
# told.decide: decide
# told.decide: predictive


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class FNet(nn.Module):
    """(y: real[D]) → (loc: real, scale: positive): standardise |> mlp([50])."""

    def __init__(self, D: int):
        super().__init__()
        self.standardise = Standardise(D)
        self.mlp = nn.Sequential(nn.Linear(D, 50), nn.ReLU())
        self.out = nn.Linear(50, 2)

    def features(self, y: Tensor) -> Tensor:
        """y (*B, D) → (*B, 50)."""
        return self.mlp(self.standardise(y))

    def forward(self, y: Tensor) -> tuple[Tensor, ...]:
        """loc (*B), scale (*B) before softplus."""
        loc, scale = self.out(self.features(y)).unbind(-1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Regression(nn.Module):
    """Batch: y (n, D) real[D]; x (n) real."""

    exact = True
    estimator = "exact"

    def __init__(self, D: int):
        super().__init__()
        self.f = FNet(D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        y = batch["y"]  # (n, D)
        f_loc, f_scale_raw = self.f(y)  # (n,)
        f_scale = F.softplus(f_scale_raw)  # (n,)
        x = batch["x"]  # (n,)
        return normal_log_prob(x, f_loc, f_scale)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Standardise by it."""
        f_loc_bias = self.f.out.bias[0]
        f_scale_bias_raw = self.f.out.bias[1]
        f_scale_bias = F.softplus(f_scale_bias_raw)
        x = batch["x"]  # (n,)
        loc, scale = by_group(normal_start, x, (), (f_loc_bias, f_scale_bias))
        softplus = softplus_inverse(scale)
        f_loc_bias.copy_(loc)
        f_scale_bias_raw.copy_(softplus)
        learn_scales(self, batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = batch["y"]  # (n, D)
        f_loc, f_scale_raw = self.f(y)  # (n,)
        f_scale = F.softplus(f_scale_raw)  # (n,)
        x = decide(torch.distributions.Normal(loc=f_loc, scale=f_scale).expand((n,)), rule, False)  # (n,)
        return {"y": y, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for
        models with latents.
        """
        rows, kinds = len(batch["y"]), dict.fromkeys(("x",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
