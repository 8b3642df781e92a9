"""A Gaussian latent z and a class c given it: Σ_n mean_k log Σ_c p(c | z_k) N(x_n; mlp(z_k, c), σ²) - KL(q(z | x_n))."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload

LOG_2PI, SAMPLES, HIDDEN = math.log(2 * math.pi), 4, 128


def workload(rows: int, dims: int, code: int, classes: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    shapes = {"encode.mlp.0": (HIDDEN, dims), "encode.out": (2 * code, HIDDEN), "decode.out": (dims, HIDDEN)}
    shapes |= {"decode.from_z": (HIDDEN, code)}
    parameters = {f"{k}.weight": torch.randn(s, generator=g) / math.sqrt(s[1]) for k, s in shapes.items()}
    parameters |= {f"{k}.bias": 0.1 * torch.randn(s[0], generator=g) for k, s in shapes.items()}
    parameters |= {
        "decode.from_c.weight": torch.randn(classes, HIDDEN, generator=g) / math.sqrt(classes),
        "raw_sigma": 0.5 + 0.1 * torch.randn(dims, generator=g),
        "weight": torch.randn(classes, code, generator=g) / math.sqrt(code),
        "bias": 0.1 * torch.randn(classes, generator=g),
    }
    batch = {"x": torch.randn(rows, dims, generator=g)}
    sizes = {"Z": code, "C": classes, "D": dims}
    return Workload("mixed.vispec", sizes, parameters, batch, reference, {"hand": hand, "expert": expert})


def layer(p: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def encode(p: Tensors, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """loc and scale (N, Z), draws z (4, N, Z), and the divergence of all rows."""
    loc, raw = layer(p, "encode.out", layer(p, "encode.mlp.0", x).relu()).chunk(2, 1)
    scale = F.softplus(raw)
    z = loc + scale * torch.randn(SAMPLES, *loc.shape).to(loc)
    kl = 0.5 * (loc.square() + scale.square() - 2 * scale.log() - 1).sum()
    return loc, scale, z, kl


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """Sample by sample, class by class."""
    x, law = batch["x"], torch.distributions
    loc, scale, draws, _ = encode(p, x)
    kl = law.kl_divergence(law.Normal(loc, scale), law.Normal(torch.zeros_like(loc), torch.ones_like(scale))).sum()
    total = -SAMPLES * kl
    for z in draws:
        log_c = (z @ p["weight"].T + p["bias"]).log_softmax(1)
        terms = []
        for c, row in enumerate(p["decode.from_c.weight"]):
            mean = layer(p, "decode.out", (layer(p, "decode.from_z", z) + row).relu())
            terms.append(log_c[:, c] + law.Normal(mean, F.softplus(p["raw_sigma"])).log_prob(x).sum(1))
        total = total + torch.stack(terms).logsumexp(0).sum()
    return total / SAMPLES


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The decoder reads z and a one-hot c side by side, for all samples and classes at once."""
    x = batch["x"]
    _, _, z, kl = encode(p, x)
    classes, sigma = len(p["bias"]), F.softplus(p["raw_sigma"])
    log_c = (z @ p["weight"].T + p["bias"]).log_softmax(-1)  # (4, N, C)
    lead = (*z.shape[:2], classes)
    both = torch.cat([z[:, :, None].expand(*lead, -1), torch.eye(classes).expand(*lead, classes)], -1)
    first = torch.cat([p["decode.from_z.weight"], p["decode.from_c.weight"].T], 1)
    mean = layer(p, "decode.out", F.linear(both, first, p["decode.from_z.bias"]).relu())  # (4, N, C, D)
    log_x = -0.5 * ((x[:, None] - mean) / sigma).square().sum(-1) - sigma.log().sum() - 0.5 * LOG_2PI * x.shape[1]
    return (log_c + log_x).logsumexp(-1).sum() / SAMPLES - kl


class Classes(torch.autograd.Function):
    """Σ log Σ_c exp(log_c - |residual|² / 2) for log_c (R, C), residual (R, C, D); the gradients end in residual's buffer."""

    @staticmethod
    def forward(ctx, log_c, residual):
        log_p = torch.linalg.vector_norm(residual, dim=-1).square_().mul_(-0.5).add_(log_c)
        log_sum = log_p.logsumexp(-1, keepdim=True)
        posterior = log_p.sub_(log_sum).clamp_(min=-80).exp_()
        ctx.save_for_backward(posterior, residual.mul_(-posterior[..., None]))
        return log_sum.sum()

    @staticmethod
    def backward(ctx, grad):
        by_log_c, by_residual = ctx.saved_tensors
        return grad * by_log_c, by_residual.mul_(grad)


def expert(p: Tensors, batch: Tensors) -> Tensor:
    """The decoder's first layer is a sum of one for z and one for c; its last gives residuals in units of σ."""
    x, (_, _, z, kl) = batch["x"], encode(p, batch["x"])
    classes, dims = len(p["bias"]), x.shape[1]
    log_c = F.linear(z, p["weight"], p["bias"]).log_softmax(-1).view(-1, classes)
    hidden = (layer(p, "decode.from_z", z)[:, :, None] + p["decode.from_c.weight"]).relu_()  # (4, N, C, H)
    sigma = F.softplus(p["raw_sigma"])
    precision = 1 / sigma
    weight, shift = p["decode.out.weight"] * precision[:, None], (x - p["decode.out.bias"]) * precision  # (D, H), (N, D)
    residual = F.linear(hidden, weight).sub_(shift[:, None]).view(-1, classes, dims)
    log_sum = Classes.apply(log_c, residual)
    return log_sum / SAMPLES - len(x) * (sigma.log().sum() + 0.5 * LOG_2PI * dims) - kl
