"""VaeFrey: emitted by vispec from vae_frey.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log p = kl_z + log_x

    z  elbo(samples=1); continuous; guide Normal
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


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which cannot be averaged."""
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for _ in range(samples - 1):
            again = generate("mean")
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}


class KlNormalStandard(torch.autograd.Function):
    """The sum of `kl_normal_standard` over the last dimension: (*B, D) each → (*B). A dozen small operations fewer."""

    @staticmethod
    def forward(ctx, loc, scale):
        ctx.save_for_backward(loc, scale)
        terms = scale.log().addcmul_(loc, loc, value=-0.5).addcmul_(scale, scale, value=-0.5)
        return torch.rsub(terms.sum(-1), -0.5 * loc.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        loc, scale = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        return loc * grad, (scale - scale.reciprocal()).mul_(grad)


def kl_normal_standard_vector(loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d KL(N(loc_d, scale_d²) ‖ N(0, 1)): loc and scale (*B, D) → (*B)."""
    return KlNormalStandard.apply(loc, scale)


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class NormalVectorLogProb(torch.autograd.Function):
    """Σ_d log N(value_d; loc_d, scale_d²) (*B): value, loc and scale broadcast to (*B, D).

    Instead of four tensors (*B, D) of autograd's, it makes one for the gradient, and one of residuals in units of the scale,
    which it returns too.
    """

    @staticmethod
    def forward(ctx, value, loc, scale):
        residual = value - loc
        fits = scale.shape == residual.shape[residual.dim() - scale.dim() :]  # broadcast_shapes takes its time
        residual = residual.div_(scale) if fits else residual / scale  # (*B, D)
        ctx.save_for_backward(residual, scale)
        ctx.shapes = value.shape, loc.shape, scale.shape
        distance = torch.linalg.vector_norm(residual, dim=-1).square_()
        log_scale = scale.log().expand(*scale.shape[:-1], residual.shape[-1]).sum(-1)
        ctx.set_materialize_grads(False)
        found = distance.mul_(-0.5).sub_(log_scale).sub_(0.9189385332046727 * residual.shape[-1])  # log(2π) / 2
        return found, residual

    @staticmethod
    def backward(ctx, grad, by_residual):
        residual, scale = ctx.saved_tensors
        value_shape, loc_shape, scale_shape = ctx.shapes
        grad = residual.new_zeros(residual.shape[:-1]) if grad is None else grad
        weighted = residual * grad[..., None]  # (*B, D)
        weighted = weighted if by_residual is None else weighted - by_residual
        by_scale = None
        if ctx.needs_input_grad[2]:
            size = scale_shape[-1] if scale_shape else 1
            once = grad[..., None].sum_to_size((*scale_shape[:-1], 1) if scale_shape else ()) * (residual.shape[-1] // size)
            by_scale = (weighted * residual).sum_to_size(scale_shape).sub_(once).div_(scale)
        by_loc = weighted / scale if torch.is_grad_enabled() else weighted.div_(scale)
        by_value = by_loc.neg().sum_to_size(value_shape) if ctx.needs_input_grad[0] else None
        return by_value, by_loc.sum_to_size(loc_shape) if ctx.needs_input_grad[1] else None, by_scale


def standard_normal_vector_log_prob(value: Tensor) -> Tensor:
    """Σ_d log N(value_d; 0, 1): (*B, D) → (*B)."""
    return value.square().sum(-1) * -0.5 - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


def normal_vector_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d log N(value_d; loc_d, scale_d²), broadcast: (*B, D) each → (*B)."""
    return NormalVectorLogProb.apply(value, loc, scale)[0]


class Decode(nn.Module):
    """(z: real[Z]) → unit[28, 20]: mlp([200])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 200), nn.ReLU())
        self.out = nn.Linear(200, 560)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 200)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 28, 20) log-odds."""
        return self.out(self.features(z)).unflatten(-1, (28, 20))


class Encode(nn.Module):
    """(x: real[28, 20]) → (loc: real[Z], scale: positive[Z]): mlp([200])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(560, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 28, 20) → (*B, 200)."""
        return self.mlp(x.flatten(-2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(x)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class VaeFrey(nn.Module):
    """Batch: x (n, 28, 20) real[28, 20]."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 10):
        super().__init__()
        self.Z = Z
        self.raw_noise = nn.Parameter(torch.zeros(()))
        self.decode = Decode(Z)
        self.encode = Encode(Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def noise(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_noise)

    @noise.setter
    def noise(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_noise.copy_(softplus_inverse(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: elbo(samples=1)."""
        x = batch["x"]  # (n, 28, 20)
        value = x / 255  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(value)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (n,)
        decode = self.decode(z)  # (n, 28, 20)
        decode_prob = torch.sigmoid(decode)  # (n, 28, 20)
        value_2 = 255 * decode_prob  # (n, 28, 20)
        noise = F.softplus(self.raw_noise)
        value_3 = 25 * noise
        log_x = normal_log_prob(x, value_2, value_3).flatten(-2).sum(-1)  # (n,)
        return log_x - kl_z  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 28, 20)
        value = x / 255  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(value)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        decode = self.decode(z)  # (s*, n, 28, 20)
        decode_prob = torch.sigmoid(decode)  # (s*, n, 28, 20)
        value_2 = 255 * decode_prob  # (s*, n, 28, 20)
        noise = F.softplus(self.raw_noise)
        value_3 = 25 * noise
        log_x = normal_log_prob(x, value_2, value_3).flatten(-2).sum(-1)  # (s*, n)
        log_prob = log_ratio_z + log_x  # (s*, n)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        z: real[Z], (n).
        """
        x = batch["x"]  # (n, 28, 20)
        value = x / 255  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(value)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        return {"z": {"loc": encode_loc, "scale": encode_scale}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, n) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        x = batch["x"]  # (n, 28, 20)
        value = x / 255  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(value)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        return {"z": (log_ratio_z, z)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n, self.Z,)), "sample", True)  # (n, Z)
        decode = self.decode(z)  # (n, 28, 20)
        decode_prob = torch.sigmoid(decode)  # (n, 28, 20)
        value = 255 * decode_prob  # (n, 28, 20)
        noise = F.softplus(self.raw_noise)
        value_2 = 25 * noise
        x = decide(torch.distributions.Normal(loc=value, scale=value_2).expand((n, 28, 20,)), rule, False)  # (n, 28, 20)
        return {"z": z, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
