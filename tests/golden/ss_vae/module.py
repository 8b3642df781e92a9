"""SsVae: emitted by vispec from ss_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    mean_y = mean over y under guide_y, log_y, kl_z, log_x
    total = product of labels_y, mean_y

    y  summed; discrete; enumerated under its guide; independent in each element of its plates
    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.dense: OneHotLinear
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: expected_under
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# told.decide: decide
# told.predict: labelled
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
# vectors: standard_normal_vector_log_prob


class Decode(nn.Module):
    """(z: real[Z], y: category[10]) → unit[784]: mlp([500, 500])."""

    def __init__(self, Z: int):
        super().__init__()
        self.from_z = nn.Linear(Z, 500)
        self.from_y = OneHotLinear(10, 500)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(500, 500), nn.ReLU())
        self.out = nn.Linear(500, 784)

    def features(self, z: Tensor, y: Tensor) -> Tensor:
        """z (*B, Z), y (*B) → (*B, 500)."""
        return self.mlp(self.from_z(z) + self.from_y(y))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(z, y))


class Classify(nn.Module):
    """(x: bit[784]) → simplex[10]: mlp([500, 500])."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU())
        self.out = nn.Linear(500, 10)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 500)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, 10) unnormalised log-probabilities."""
        return self.out(self.features(x))


class Encode(nn.Module):
    """(x: bit[784], y: category[10]) → (loc: real[Z], scale: positive[Z]): mlp([500, 500])."""

    def __init__(self, Z: int):
        super().__init__()
        self.from_x = nn.Linear(784, 500)
        self.from_y = OneHotLinear(10, 500)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(500, 500), nn.ReLU())
        self.out = nn.Linear(500, 2 * Z)

    def features(self, x: Tensor, y: Tensor) -> Tensor:
        """x (*B, 784), y (*B) → (*B, 500)."""
        return self.mlp(self.from_x(x) + self.from_y(y))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(x, y)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class SsVae(nn.Module):
    """Batch: y (n) category[10]; y_observed (n) bool; x (n, 784) bit[784]."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 50):
        super().__init__()
        self.Z = Z
        self.decode = Decode(Z)
        self.classify = Classify()
        self.encode = Encode(Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor], training: bool = False) -> Tensor:
        """A lower bound on log p of each row (n,), in nats; in training as `fit:` changes it for the loss."""
        x = batch["x"]  # (n, 784)
        at_y = torch.arange(10, device=self.one.device)  # (y,)
        encode_loc, encode_scale_raw = self.encode(x[:, None], at_y)  # (n, y, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, y, Z)
        y_observed = batch["y_observed"]  # (n,)
        noise_z = self.one.new_empty(y_observed.shape[0], self.Z).normal_()  # (n, Z)
        z = encode_loc + encode_scale * noise_z[:, None]  # (n, y, Z)
        decode = self.decode(z, at_y)  # (n, y, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x[:, None].expand_as(decode), reduction="none").sum(-1)  # (n, y)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (n, y)
        log_joint = log_x - 2.302585092994046 - kl_z  # (n, y); 2.302585092994046 = log 10
        y = batch["y"]  # (n,)
        test = y_observed[:, None] & (at_y != y[:, None])  # (n, y)
        value = torch.where(test, self.one * -torch.inf, 0.0)  # (n, y)
        classify_raw = self.classify(x)  # (n, 10)
        log_classify = classify_raw.log_softmax(-1)  # (n, 10)
        guide_y = torch.where(y_observed[:, None], value, log_classify)  # (n, y)
        expected = expected_under(guide_y, log_joint)  # (n,)
        y_2 = torch.where(y_observed, y, 0)  # (n,)
        log_q_at_y = pick_last(log_classify, y_2)  # (n,)
        labels_y = torch.where(y_observed & training, 100.0 * log_q_at_y, 0.0)  # (n,)
        return labels_y + expected  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch, training=self.training)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        at_y = torch.arange(10, device=self.one.device)  # (y,)
        encode_loc, encode_scale_raw = self.encode(x[:, None], at_y)  # (n, y, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, y, Z)
        y_observed = batch["y_observed"]  # (n,)
        noise_z = self.one.new_empty(samples, y_observed.shape[0], self.Z).normal_()  # (s*, n, Z)
        z = encode_loc + encode_scale * noise_z[:, :, None]  # (s*, n, y, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n, y)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n, y)
        decode = self.decode(z, at_y)  # (s*, n, y, 784)
        log_x = -F.binary_cross_entropy_with_logits(
            decode, x[:, None].expand_as(decode), reduction="none"
        ).sum(-1)  # (s*, n, y)
        y = batch["y"]  # (n,)
        test = y_observed[:, None] & (at_y != y[:, None])  # (n, y)
        seen_y = torch.where(test, self.one * -torch.inf, 0.0)  # (n, y)
        log_joint = seen_y + (log_p_z - log_q_z) + log_x - 2.302585092994046  # (s*, n, y); 2.302585092994046 = log 10
        return log_sum_exp(log_joint)  # (s*, n)

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor], mode: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; what they read of summed latents at `mode`; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x, mode["y"])  # (n, Z)
        return {"z": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        y = batch["y"]  # (n,)
        test = torch.arange(10, device=self.one.device) != y[:, None]  # (n, y)
        y_observed = batch["y_observed"]  # (n,)
        value = torch.where(y_observed[:, None] & test, self.one * -torch.inf, 0.0)  # (n, y)
        x = batch["x"]  # (n, 784)
        classify_raw = self.classify(x)  # (n, 10)
        log_classify = classify_raw.log_softmax(-1)  # (n, 10)
        guide_y = torch.where(y_observed[:, None], value, log_classify)  # (n, y)
        return total(guide_y + tilt["y"])  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        y = batch["y"]  # (n,)
        return {"y": self.one.new_zeros(y.shape[0], 10)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        y: category[10], (n).
        z: real[Z], (n).
        """
        zeros, inside = self.unknowns(batch)
        found = ask(self, batch, query, zeros, inside)
        mode = found if query in ("mode", "sample") else ask(self, batch, "mode", zeros, inside)
        return found | self.guides(batch, mode)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = decide(torch.distributions.Categorical(probs=(self.one * 0.1).expand(10)).expand((n,)), rule, True)  # (n,)
        z = self.one.new_empty(n, self.Z).normal_()  # (n, Z)
        decode = self.decode(z, y)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784)), rule, False)  # (n, 784)
        return {"y": y, "z": z, "x": x, "y_observed": torch.tensor(True, device=self.one.device).expand(n)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("y",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
