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


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


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

    What does not vary in the data has deviation 1. mask (*B, T): which elements of x (*B, T, width) count. seen (*B, width) or
    (*B, 1): 1 for numbers that are there; the others have no part in the mean and are 0 in the result."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.learning = False

    def forward(self, x: Tensor, mask: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        if self.learning:
            self.learn(x, mask, torch.ones_like(x) if seen is None else seen)
        standard = (x - self.mean) / self.deviation
        return standard if seen is None else torch.where(seen > 0, standard, 0.0)

    def learn(self, x: Tensor, mask: Tensor | None, seen: Tensor) -> None:
        """Take the means and deviations of what counts and is there; of nothing, 0 and 1."""
        counts = (seen > 0).expand_as(x)
        if mask is not None:
            counts = counts & mask.expand(x.shape[:-1]).unsqueeze(-1)
        counts, x = counts.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1])
        number = counts.sum(0).clamp(min=1)
        mean = torch.where(counts, x, 0.0).sum(0) / number
        first = x.gather(0, counts.int().argmax(0, keepdim=True))
        varies = (counts & (x != first)).any(0)  # rounding may give a constant a deviation
        variance = torch.where(counts, x - mean, 0.0).square().sum(0) / number
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, variance.sqrt(), 1.0))


def learn_scales(module, batch: dict[str, Tensor]) -> None:
    """Every `Standardise` of the module takes its mean and deviation from what it meets in this batch."""
    layers = [each for each in module.modules() if isinstance(each, Standardise)]
    for layer in layers:
        layer.learning = True
    module.log_prob(batch)
    for layer in layers:
        layer.learning = False


def by_group(start, value: Tensor, at: tuple, now: tuple, *told: Tensor | int, among: Tensor | None = None) -> list[Tensor]:
    """The parameters of a law, each (*G, *event), that `start` finds in the elements (N, *event) of each group.

    at: for each dimension of G where in it an element belongs, (N,) or one for all. now: what the parameters are, None for
    those not asked for; there stays what the elements do not tell. told: what else start reads, (N, ...) or one for all.
    among (N,): which elements the groups have, all without it.

    A group's parameters are drawn towards those of all elements as by one element of these, so that a group of few has no
    extreme ones; a group of none has those of all."""
    if not len(value):
        return [old for old in now if old is not None]
    whole = start(value, *told)
    sizes = next(each.shape[: len(at)] for each in now if each is not None)
    found = [each.expand(sizes.numel(), *each.shape).clone() for each in whole]
    key = torch.zeros(len(value), dtype=torch.long, device=value.device)
    for size, index in zip(sizes, at, strict=True):
        key = key * size + index
    if among is not None:
        key = torch.where(among, key, -1)
    order = key.argsort()
    groups, counts = key[order].unique_consecutive(return_counts=True)
    for group, rows in zip(groups.tolist(), order.split(counts.tolist()), strict=True):
        if group < 0 or len(rows) == len(value):
            continue
        own = start(value[rows], *(each[rows] if isinstance(each, Tensor) and each.dim() else each for each in told))
        for table, mine, all_ in zip(found, own, whole, strict=True):
            both = (len(rows) * mine + all_) / (len(rows) + 1)
            table[group] = torch.where(both.isfinite(), both, torch.where(mine.isfinite(), mine, all_))
    return [kept(each.reshape(sizes + each.shape[1:]), old) for each, old in zip(found, now, strict=True) if old is not None]


def kept(found: Tensor, old: Tensor) -> Tensor:
    """What was found in the shape of the old, the mean where one number stands for several; the old where it is not finite."""
    while found.dim() > old.dim():
        found = found.nanmean(-1)
    return torch.where(found.isfinite(), found, old)


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
        """Start parameters at what the batch shows of their laws. Standardise by it."""
        x = batch["x"]  # (n,)
        f_bias = self.f.out.bias
        f_bias[0:1], scale = by_group(normal_start, x, (), (f_bias[0:1], F.softplus(f_bias[1:2])))
        f_bias[1:2] = softplus_inverse(scale)
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
