"""GaussianMixtureVae: emitted by vispec from gaussian_mixture_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    sum_c = log-sum-exp over c of log_c, ratio_z
    total = product of log_x, sum_c

    c  summed; discrete; independent in each element of its plates
    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.mixture: NormalNatural
# sums.mixture: normal_natural
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
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob


class Decode(nn.Module):
    """(z: real[Z]) → unit[784]: mlp([500, 500])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU())
        self.out = nn.Linear(500, 784)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 500)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(z))


class Encode(nn.Module):
    """(x: bit[784]) → (loc: real[Z], scale: positive[Z]): mlp([500, 500])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU())
        self.out = nn.Linear(500, 2 * Z)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 500)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(x)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class GaussianMixtureVae(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, K: int = 10, Z: int = 10):
        super().__init__()
        self.K = K
        self.Z = Z
        self.raw_weight = nn.Parameter(torch.zeros(K))  # (K)
        self.loc = nn.Parameter(torch.randn(K, Z))  # (k, Z)
        self.raw_scale = nn.Parameter(torch.randn(K, Z) * 0.1)  # (k, Z)
        self.decode = Decode(Z)
        self.encode = Encode(Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def weight(self) -> Tensor:
        """simplex[K]."""
        return self.raw_weight.softmax(-1)

    @weight.setter
    def weight(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_weight.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def scale(self) -> Tensor:
        """positive[Z], one for each element of k."""
        return F.softplus(self.raw_scale)

    @scale.setter
    def scale(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_scale.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        scale = F.softplus(self.raw_scale)  # (c, Z)
        z_const, z_weight, z_statistics = normal_natural(z, self.loc, scale)  # (c,), (c, T), (n, T)
        log_p_z = F.linear(z_statistics, z_weight, z_const)  # (n, c)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (n,)
        log_weight = self.raw_weight.log_softmax(-1)  # (K,)
        total = log_weight + (log_p_z - log_q_z[:, None])  # (n, c)
        log_sum_c = log_sum_exp(total)  # (n,)
        decode = self.decode(z)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_x + log_sum_c  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, n, Z)
        scale = F.softplus(self.raw_scale)  # (c, Z)
        z_const, z_weight, z_statistics = normal_natural(z, self.loc, scale)  # (c,), (c, T), (s*, n, T)
        log_p_z = F.linear(z_statistics, z_weight, z_const)  # (s*, n, c)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        log_weight = self.raw_weight.log_softmax(-1)  # (K,)
        total = log_weight + (log_p_z - log_q_z[:, :, None])  # (s*, n, c)
        log_sum_c = log_sum_exp(total)  # (s*, n)
        decode = self.decode(z)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        return log_x + log_sum_c  # (s*, n)

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, Z)
        return {"z": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        scale = F.softplus(self.raw_scale)  # (c, Z)
        z_const, z_weight, z_statistics = normal_natural(z, self.loc, scale)  # (c,), (c, T), (n, T)
        log_p_z = F.linear(z_statistics, z_weight, z_const)  # (n, c)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (n,)
        log_weight = self.raw_weight.log_softmax(-1)  # (K,)
        total_ = log_weight + (log_p_z - log_q_z[:, None]) + tilt["c"]  # (n, c)
        log_sum_c = total(total_)  # (n,)
        decode = self.decode(z)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_x + log_sum_c  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (n, 784)
        return {"c": self.one.new_zeros(x.shape[0], self.K)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        c: index[k], (n).
        z: real[Z], (n).
        """
        zeros, inside = self.unknowns(batch)
        found = ask(self, batch, query, zeros, inside)
        return found | self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        c = torch.distributions.Categorical(logits=self.raw_weight).expand((n,)).sample()  # (n,)
        loc_at = self.loc[c]  # (n, Z)
        scale = F.softplus(self.raw_scale)  # (k, Z)
        scale_at = scale[c]  # (n, Z)
        z = loc_at + scale_at * torch.randn_like(loc_at)  # (n, Z)
        decode = self.decode(z)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784)), rule, False)  # (n, 784)
        return {"c": c, "z": z, "x": x}

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
