"""NoisyOr: emitted by vispec from noisy_or.vispec; imports torch and nothing else.

    log_prob: exact

    log_z_over_k = product over k of log_z
    log_x_over_d = product over d of log_x
    sum_z[k] = log-sum-exp over z[k] of log_z_over_k, log_x_over_d

    z  summed; discrete; read together along k: all joint values
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# probability: LogOfProbability
# probability: log_of
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: ChunkedLogSum
# sums.enumeration: chunks
# sums.enumeration: enumerated_log_sum
# sums.enumeration: every_log_joint
# sums.enumeration: number_of_joint_values
# sums.enumeration: seeded
# sums.enumeration: values_at_once
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.unrolled: over_joint_values
# told.decide: decide
# told.decide: predictive
# told.queries: Attached
# told.queries: Entropic
# told.queries: Summed
# told.queries: answer
# told.queries: ask
# told.queries: divergence
# told.queries: k_best
# told.queries: logs_of
# told.queries: mean_where
# told.queries: ranked


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


class NoisyOr(nn.Module):
    """Batch: x (n, d) bit."""

    exact = True
    estimator = "exact"
    sums = ("sum_z[k] = log-sum-exp over z[k] of log_z_over_k, tilt_z_over_k, log_x_over_d",)

    def __init__(self, D: int, K: int = 8):
        super().__init__()
        self.K = K
        self.D = D
        self.raw_active = nn.Parameter(torch.randn(K) * 0.1)  # (k)
        self.raw_leak = nn.Parameter(torch.randn(D) * 0.1)  # (d)
        self.raw_strength = nn.Parameter(torch.randn(D, K) * 0.1)  # (d, K)
        self.memory = 2**30  # bytes that a sum over joint values may take at once
        self.max_joint_values = 2**24
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def active(self) -> Tensor:
        """unit, one for each element of k."""
        return torch.sigmoid(self.raw_active)

    @active.setter
    def active(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_active.copy_(in_domain(raw, torch.sigmoid(raw), value))

    @property
    def leak(self) -> Tensor:
        """positive, one for each element of d."""
        return F.softplus(self.raw_leak)

    @leak.setter
    def leak(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_leak.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def strength(self) -> Tensor:
        """positive[K], one for each element of d."""
        return F.softplus(self.raw_strength)

    @strength.setter
    def strength(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_strength.copy_(in_domain(raw, F.softplus(raw), value))

    def log_joint_of_z(self, index: Tensor, x: Tensor, leak: Tensor, strength: Tensor) -> Tensor:
        """The log-joint (n, z) at the joint values of z that `index` (S,) numbers."""
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        mod = (index >> at_k[:, None]) & 1  # (k, z[k])
        mod_2 = mod.to(self.one.dtype)  # (k, z[k])
        total = F.linear(mod_2.T, strength, leak)  # (z[k], d)
        total_2 = -total  # (z[k], d)
        value = torch.where(x[:, None], log_of(-total_2.expm1()), total_2)  # (n, z[k], d)
        value_2 = bernoulli_log_prob(mod_2, self.raw_active[:, None])  # (k, z[k])
        return value_2.sum(0) + value.sum(-1)  # (n, z[k])

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        x = batch["x"]  # (n, d)
        x_2 = x.bool()  # (n, d)
        leak = F.softplus(self.raw_leak)  # (d,)
        strength = F.softplus(self.raw_strength)  # (d, K)
        count = number_of_joint_values(self.K, 2, self.max_joint_values)
        log_sum = enumerated_log_sum(
            self.log_joint_of_z, (x_2, leak, strength), count, x.shape[0] * (12 * 4), self.memory, self.parameters
        )  # (n,)
        return log_sum  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        x = batch["x"]  # (n, d)
        x_2 = x.bool()  # (n, d)
        leak = F.softplus(self.raw_leak)  # (d,)
        strength = F.softplus(self.raw_strength)  # (d, K)
        count = number_of_joint_values(self.K, 2, self.max_joint_values)
        log_joint = every_log_joint(
            self.log_joint_of_z,
            (x_2, leak, strength),
            count,
            values_at_once(x.shape[0] * (12 * 4), self.memory, self.one.device),
            self.one.device,
        )  # (n, z[k])
        over = over_joint_values(tilt["z"])  # (n, z[k])
        return total(log_joint + over)  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (n, d)
        return {"z": self.one.new_zeros(x.shape[0], self.K, 2)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        z: bit, (n, k).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = torch.distributions.Bernoulli(logits=self.raw_active[:, None]).expand((self.K, n)).sample()  # (k, n)
        strength = F.softplus(self.raw_strength)  # (d, K)
        leak = F.softplus(self.raw_leak)  # (d,)
        total = F.linear(z.T, strength, leak)  # (n, d)
        expm1_total = (-total).expm1()  # (n, d)
        x = decide(torch.distributions.Bernoulli(probs=-expm1_total).expand((n, self.D)), rule, False)  # (n, d)
        return {"z": z.T, "x": x}

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

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
