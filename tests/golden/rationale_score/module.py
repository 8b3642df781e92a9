"""RationaleScore: emitted by vispec from rationale_score.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, score(samples=8, baseline=loo)


    y  data; given by the data
    f  score(samples=8, baseline=loo); asked for score; drawn from its own law
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# distinct: distinct
# draws.score: mean_of_others
# draws.score: score_bound
# draws.score: score_bound_loo
# draws.score: signal_of
# heap: keep_pages
# layers.sequence: after_mean
# layers.sequence: before_mean
# layers.sequence: masked_mean
# layers.sequence: shares
# layers.sequence: weighted_sum
# rows: with_room
# sums.logsum: GradientAlone
# sums.logsum: gradient_alone
# sums.logsum: impossible_alone
# sums.lookup: pick_last
# sums.selected: logits_log_prob
# told.decide: decide
# told.decide: predictive


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


class Select(nn.Module):
    """(word: token[V]) → unit: embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 1)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 64)."""
        return self.mlp(self.embed(word))

    def forward(self, word: Tensor) -> Tensor:
        """(*B) log-odds."""
        return self.out(self.features(word)).squeeze(-1)


class Classify(nn.Module):
    """(words: token[V]*) → simplex[5]: embed(128) |> mean |> mlp([128])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.out = nn.Linear(128, 5)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 128)."""
        return after_mean(self.mlp, self.embed(words), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(words, words_mask=words_mask))


class RationaleScore(nn.Module):
    """Batch: y (review, i) token[V]; x (review) category[5]; y_len (review)."""

    exact = False
    estimator = "score(samples=8, baseline=loo)"

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.classify = Classify(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (review,), in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).expand((8, y.shape[0], y.shape[1])).sample()  # (s*, review, i)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        test = inside_i & f.bool()  # (s*, review, i)
        classify = self.classify(y, words_mask=test)  # (s*, review, 5)
        x = batch["x"]  # (review,)
        log_x = logits_log_prob(classify, x)  # (s*, review)
        log_q_f = bernoulli_log_prob(f, select_2)  # (s*, review, i)
        log_q = torch.where(inside_i, log_q_f, 0.0).sum(-1)  # (s*, review)
        return score_bound_loo(log_x, log_q)  # (review,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, review)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).expand((samples, y.shape[0], y.shape[1])).sample()  # (s*, review, i)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        test = inside_i & f.bool()  # (s*, review, i)
        classify = self.classify(y, words_mask=test)  # (s*, review, 5)
        x = batch["x"]  # (review,)
        return logits_log_prob(classify, x)  # (s*, review)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).sample()  # (review, i)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        f_padded = torch.where(inside_i, f, 0.0)  # (review, i)
        test = inside_i & f.bool()  # (review, i)
        classify = self.classify(y, words_mask=test)  # (review, 5)
        x = decide(torch.distributions.Categorical(logits=classify).expand((n,)), rule, False)  # (review,)
        return {"y": y, "f": f_padded, "x": x, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
