"""OrdinalRegression: emitted by vispec from ordinal_regression.vispec; imports torch and nothing else.

    log_prob: exact

    log_rating_over_rater = product over rater of log_rating

    x       data; given by the data
    rating  scored where seen; nothing depends on it: scored where it is seen
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: from_ordered
# constraints: in_domain
# constraints: softplus_inverse
# constraints: to_ordered
# heap: keep_pages
# layers.standardise: Standardise
# layers.standardise: learn_scales
# probability: ordinal_log_probs
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: impossible_alone
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


class Score(nn.Module):
    """(x: real[D]) → real: standardise |> mlp([32])."""

    def __init__(self, D: int):
        super().__init__()
        self.standardise = Standardise(D)
        self.mlp = nn.Sequential(nn.Linear(D, 32), nn.ReLU())
        self.out = nn.Linear(32, 1)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, D) → (*B, 32)."""
        return self.mlp(self.standardise(x))

    def forward(self, x: Tensor) -> Tensor:
        """(*B)."""
        return self.out(self.features(x)).squeeze(-1)


class OrdinalRegression(nn.Module):
    """Batch: x (item, D) real[D]; rating (item, rater) category[K]; rating_observed (item, rater) bool."""

    exact = True
    estimator = "exact"
    sums = ("sum_rating = log-sum-exp over rating of log_rating, seen_rating, tilt_rating",)

    def __init__(self, R: int, D: int = 8, K: int = 5):
        super().__init__()
        self.K = K
        self.R = R
        self.raw_cuts = nn.Parameter(torch.randn(R, K - 1) * 0.1)  # (rater, K - 1)
        self.score = Score(D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def cuts(self) -> Tensor:
        """ordered[K - 1], one for each element of rater."""
        return to_ordered(self.raw_cuts)

    @cuts.setter
    def cuts(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = from_ordered(value)
            self.raw_cuts.copy_(in_domain(raw, to_ordered(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (item,), exact, in nats."""
        x = batch["x"]  # (item, D)
        score = self.score(x)  # (item,)
        cuts = to_ordered(self.raw_cuts)  # (rater, K - 1)
        ordinal = ordinal_log_probs(score[:, None], cuts)  # (item, rater, K)
        rating_observed = batch["rating_observed"]  # (item, rater)
        rating = batch["rating"]  # (item, rater)
        rating_2 = torch.where(rating_observed, rating, 0)  # (item, rater)
        ordinal_at = pick_last(ordinal, rating_2)  # (item, rater)
        log_rating = torch.where(rating_observed, ordinal_at, 0.0)  # (item, rater)
        log_rating_over_rater = log_rating.sum(-1)  # (item,)
        return impossible_alone(log_rating_over_rater)  # (item,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        rating = batch["rating"]  # (item, rater)
        test = torch.arange(self.K, device=self.one.device) != rating[:, :, None]  # (item, rater, rating)
        rating_observed = batch["rating_observed"]  # (item, rater)
        test_2 = rating_observed[:, :, None] & test  # (item, rater, rating)
        seen_rating = torch.where(test_2, self.one * -torch.inf, 0.0)  # (item, rater, rating)
        x = batch["x"]  # (item, D)
        score = self.score(x)  # (item,)
        cuts = to_ordered(self.raw_cuts)  # (rater, K - 1)
        ordinal = ordinal_log_probs(score[:, None], cuts)  # (item, rater, K)
        total_ = ordinal + seen_rating + tilt["rating"]  # (item, rater, rating)
        log_sum_rating = total(total_)  # (item, rater)
        return log_sum_rating.sum(-1)  # (item,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (item, D)
        return {"rating": self.one.new_zeros(x.shape[0], self.R, self.K)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        rating: category[K], (item, rater).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Standardise by it."""
        learn_scales(self, batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        x = batch["x"]  # (item, D)
        score = self.score(x)  # (item,)
        cuts = to_ordered(self.raw_cuts)  # (rater, K - 1)
        ordinal = ordinal_log_probs(score[:, None], cuts)  # (item, rater, K)
        ordinal_2 = ordinal.exp()  # (item, rater, K)
        rating = decide(torch.distributions.Categorical(probs=ordinal_2).expand((n, self.R)), rule, False)  # (item, rater)
        return {"x": x, "rating": rating, "rating_observed": torch.tensor(True, device=self.one.device).expand(n, self.R)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds x.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("rating",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
