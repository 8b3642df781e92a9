"""Regression: emitted by vispec from regression.vispec; imports torch and nothing else.

    log_prob: exact

    log p = log_x

    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    if isinstance(law, torch.distributions.Bernoulli):
        return (law.probs > 0.5).to(law.probs.dtype)  # torch's own mode is nan at 1/2
    return law.mode


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class Standardise(nn.Module):
    """(x − mean) / deviation for each of `width` numbers, as `learn_scales` finds them in data; before that, x itself.

    What does not vary in the data has deviation 1. mask (*B, T): which elements of x (*B, T, width) count."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.learning = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.learning:
            rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask.expand(x.shape[:-1])]
            self.mean.copy_(rows.mean(0))
            varies = (rows != rows[:1]).any(0)  # rounding may give a constant a deviation
            self.deviation.copy_(torch.where(varies, rows.std(0, correction=0), 1.0))
        return (x - self.mean) / self.deviation


def learn_scales(module, batch: dict[str, Tensor]) -> None:
    """Every `Standardise` of the module takes its mean and deviation from what it meets in this batch."""
    layers = [each for each in module.modules() if isinstance(each, Standardise)]
    for layer in layers:
        layer.learning = True
    module.log_prob(batch)
    for layer in layers:
        layer.learning = False


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
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        f_loc, f_scale_raw = self.f(y)  # (n,)
        f_scale = F.softplus(f_scale_raw)  # (n,)
        return normal_log_prob(x, f_loc, f_scale)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start locations at what the batch shows, scales at its spread, probabilities near its means. Standardise by it."""
        x = batch["x"]  # (n,)
        x_elements = x
        self.f.out.bias[0:1] = x_elements.mean(0)
        self.f.out.bias[1:2] = softplus_inverse(x_elements.std(0, correction=0).clamp(min=1e-3))
        learn_scales(self, batch)

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
        found = self.generate(len(batch["y"]), batch, {}, rule)
        return {name: found[name] for name in ("x",)}
