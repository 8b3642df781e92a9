"""DiscreteCodes: emitted by vispec from discrete_codes.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, relaxed(temperature=0.5), elbo(samples=1)

    log p = kl_b + kl_z + log_x

    b  relaxed(temperature=0.5); discrete; guide Bernoulli; biased: draws lie between the values
    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


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


def kl_normal_normal(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """KL(N(q_loc, q_scale²) ‖ N(p_loc, p_scale²))."""
    ratio = q_scale / p_scale
    return 0.5 * (ratio.square() + ((q_loc - p_loc) / p_scale).square() - 1) - ratio.log()


def kl_bernoulli(q_logit: Tensor, p_logit: Tensor) -> Tensor:
    """KL of bits with these log-odds."""
    softplus = torch.nn.functional.softplus
    return torch.sigmoid(q_logit) * (q_logit - p_logit) + softplus(p_logit) - softplus(q_logit)


def relaxed_bit(logit: Tensor, temperature: float, straight_through: bool, training: bool) -> Tensor:
    """Draws in (0, 1), or {0, 1}, of bits with these log-odds, of their shape."""
    soft = torch.sigmoid((logit + torch.rand_like(logit).logit()) / temperature)
    if training and not straight_through:
        return soft
    return (soft > 0.5).to(soft.dtype) + gradient_alone(soft)


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class GradientAlone(torch.autograd.Function):
    """0, with the gradient of the argument: a term of an estimate's gradient, of which no value is the integral."""

    @staticmethod
    def forward(ctx, x):
        return torch.zeros_like(x)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        return grad


def gradient_alone(x: Tensor) -> Tensor:
    """0 everywhere; its gradient goes to x, once."""
    return GradientAlone.apply(x)


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


def normal_vector_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d log N(value_d; loc_d, scale_d²), broadcast: (*B, D) each → (*B)."""
    return NormalVectorLogProb.apply(value, loc, scale)[0]


class Spread(nn.Module):
    """(b: bit[B]) → (loc: real[Z], scale: positive[Z]): mlp([200])."""

    def __init__(self, B: int, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(B, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, b: Tensor) -> Tensor:
        """b (*B, B) → (*B, 200)."""
        return self.mlp(b)

    def forward(self, b: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(b)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Decode(nn.Module):
    """(z: real[Z]) → unit[784]: mlp([200, 200])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU())
        self.out = nn.Linear(200, 784)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 200)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(z))


class Recognise(nn.Module):
    """(x: bit[784]) → unit[B]: mlp([200])."""

    def __init__(self, B: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 200), nn.ReLU())
        self.out = nn.Linear(200, B)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 200)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, B) log-odds."""
        return self.out(self.features(x))


class Encode(nn.Module):
    """(x: bit[784], b: bit[B]) → (loc: real[Z], scale: positive[Z]): mlp([200, 200])."""

    def __init__(self, B: int, Z: int):
        super().__init__()
        self.from_x = nn.Linear(784, 200)
        self.from_b = nn.Linear(B, 200, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(200, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, x: Tensor, b: Tensor) -> Tensor:
        """x (*B, 784), b (*B, B) → (*B, 200)."""
        return self.mlp(self.from_x(x) + self.from_b(b))

    def forward(self, x: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(x, b)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class DiscreteCodes(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "relaxed(temperature=0.5), elbo(samples=1)"

    def __init__(self, B: int = 32, Z: int = 50):
        super().__init__()
        self.B = B
        self.Z = Z
        self.raw_chance = nn.Parameter(torch.zeros(B))  # (B)
        self.spread = Spread(B, Z)
        self.decode = Decode(Z)
        self.recognise = Recognise(B)
        self.encode = Encode(B, Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def chance(self) -> Tensor:
        """unit[B]."""
        return torch.sigmoid(self.raw_chance)

    @chance.setter
    def chance(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_chance.copy_(torch.logit(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: relaxed(temperature=0.5), elbo(samples=1)."""
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        b = relaxed_bit(recognise, 0.5, False, self.training)  # (n, B)
        encode_loc, encode_scale_raw = self.encode(x, b)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        kl_b = kl_bernoulli(recognise, self.raw_chance).sum(-1)  # (n,)
        spread_loc, spread_scale_raw = self.spread(b)  # (n, Z)
        spread_scale = F.softplus(spread_scale_raw)  # (n, Z)
        kl_z = kl_normal_normal(encode_loc, encode_scale, spread_loc, spread_scale).sum(-1)  # (n,)
        decode = self.decode(z)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_x - kl_b - kl_z  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=recognise).expand((samples, x.shape[0], self.B,)).sample()  # (s*, n, B)
        encode_loc, encode_scale_raw = self.encode(x, b)  # (s*, n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (s*, n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (s*, n, Z)
        log_p_b = bernoulli_log_prob(b, self.raw_chance).sum(-1)  # (s*, n)
        log_q_b = bernoulli_log_prob(b, recognise).sum(-1)  # (s*, n)
        log_ratio_b = log_p_b - log_q_b  # (s*, n)
        spread_loc, spread_scale_raw = self.spread(b)  # (s*, n, Z)
        spread_scale = F.softplus(spread_scale_raw)  # (s*, n, Z)
        log_p_z = normal_vector_log_prob(z, spread_loc, spread_scale)  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        decode = self.decode(z)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        log_prob = log_ratio_b + log_ratio_z + log_x  # (s*, n)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        b: bit[B], (n).
        z: real[Z], (n).
        """
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        recognise_prob = torch.sigmoid(recognise)  # (n, B)
        encode_loc, encode_scale_raw = self.encode(x, recognise_prob)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        return {"b": {"probs": recognise_prob}, "z": {"loc": encode_loc, "scale": encode_scale}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of b, z: log p − log q (samples, n) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=recognise).expand((samples, x.shape[0], self.B,)).sample()  # (s*, n, B)
        encode_loc, encode_scale_raw = self.encode(x, b)  # (s*, n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (s*, n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (s*, n, Z)
        log_p_b = bernoulli_log_prob(b, self.raw_chance).sum(-1)  # (s*, n)
        log_q_b = bernoulli_log_prob(b, recognise).sum(-1)  # (s*, n)
        log_ratio_b = log_p_b - log_q_b  # (s*, n)
        spread_loc, spread_scale_raw = self.spread(b)  # (s*, n, Z)
        spread_scale = F.softplus(spread_scale_raw)  # (s*, n, Z)
        log_p_z = normal_vector_log_prob(z, spread_loc, spread_scale)  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        return {"b": (log_ratio_b, b), "z": (log_ratio_z, z)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        b = decide(torch.distributions.Bernoulli(logits=self.raw_chance).expand((n, self.B,)), "sample", True)  # (n, B)
        spread_loc, spread_scale_raw = self.spread(b)  # (n, Z)
        spread_scale = F.softplus(spread_scale_raw)  # (n, Z)
        z = decide(torch.distributions.Normal(loc=spread_loc, scale=spread_scale).expand((n, self.Z,)), "sample", True)  # (n, Z)
        decode = self.decode(z)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784,)), rule, False)  # (n, 784)
        return {"b": b, "z": z, "x": x}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "bit"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
