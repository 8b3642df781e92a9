"""Rationale: emitted by vispec from rationale.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, exact up to 65536 joint values, else score(samples=8, baseline=loo)

    log_f_over_i = product over i of log_f
    sum_f[i] = log-sum-exp over f[i] of log_x, log_f_over_i

    y  data; given by the data
    f  summed; discrete; read together along i: all joint values
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
# layers.sequence: after_means
# layers.sequence: before_mean
# layers.sequence: masked_mean
# layers.sequence: shares
# layers.sequence: weighted_sum
# rows: by_rows
# rows: has_few_values
# rows: shortened
# rows: take_rows
# rows: with_room
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
# sums.logsum: GradientAlone
# sums.logsum: LogSumExp
# sums.logsum: gradient_alone
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# sums.selected: logits_log_prob
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

    def elements(self, words: Tensor) -> Tensor:
        """What is the same for every choice: (*B, T + 1, H)."""
        return before_mean(self.mlp[0], self.embed(words))

    def of_elements(self, elements: Tensor, words_mask: Tensor) -> Tensor:
        """elements (*B, T + 1, H) of that method, words_mask (*B, S, T) → (*B, S, 5) unnormalised log-probabilities."""
        return self.out(after_means(self.mlp, elements, words_mask))


class Rationale(nn.Module):
    """Batch: y (review, i) token[V]; x (review) category[5]; y_len (review)."""

    exact = False
    estimator = "exact up to 65536 joint values, else score(samples=8, baseline=loo)"
    sums = ("sum_f[i] = log-sum-exp over f[i] of log_x, log_f_over_i, tilt_f_over_i",)

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.classify = Classify(V)
        self.memory = 2**30  # bytes that a sum over joint values may take at once
        self.max_joint_values = 2**24
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (review,) in nats: exact up to 65536 joint values, else score(samples=8, baseline=loo)."""
        names, along = ("y", "x", "y_len",), {"y": 1}
        few, ways = self.few(batch), (self.exact_log_prob, self.estimated_log_prob)
        return by_rows(few, batch, *ways, names, along, "y_len")

    def few(self, batch: dict[str, Tensor]) -> Tensor:
        """The rows (review,) that have at most 65536 joint values of f."""
        y_len = batch["y_len"]  # (review,)
        return has_few_values(y_len, values=2, most=65536)  # (review,)

    def log_joint_of_f(self, index: Tensor, value: Tensor, classify: Tensor, x: Tensor, select: Tensor, f_const: Tensor) -> Tensor:
        """The log-joint (review, f) at the joint values of f that `index` (S,) numbers."""
        at_i = torch.arange(select.shape[1], device=self.one.device)  # (i,)
        mod = (index >> at_i[:, None]) & 1  # (i, f[i])
        classify_ = self.classify.of_elements(classify, mod.bool().T)  # (review, f[i], 5)
        log_classify_at = logits_log_prob(classify_, x[:, None])  # (review, f[i])
        mod_2 = mod.to(self.one.dtype)  # (i, f[i])
        total = F.linear(mod_2.T, select, f_const) + log_classify_at.T  # (f[i], review)
        return torch.where(index < value[:, None], total.T, -torch.inf)  # (review, f[i])

    def exact_log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (review,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (review, i)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        value = torch.where(inside_i, F.logsigmoid(-select_2), 0.0)  # (review, i)
        f_const = value.sum(-1)  # (review,)
        select_3 = torch.where(inside_i, select_2, 0.0)  # (review, i)
        int_pow_y_len = 2 ** y_len  # (review,)
        classify = self.classify.elements(y)  # (review, T + 1, H)
        count = number_of_joint_values(max(int(y_len.max()), 1), 2, self.max_joint_values)
        x = batch["x"]  # (review,)
        log_sum = enumerated_log_sum(
            self.log_joint_of_f,
            (int_pow_y_len, classify, x, select_3, f_const),
            count,
            y_len.shape[0] * (12 * 265),
            self.memory,
            self.parameters,
        )  # (review,)
        return log_sum  # (review,)

    def estimated_log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A bound on log p of each row (review,) or an estimate, in nats."""
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

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (review, i)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        value = torch.where(inside_i, F.logsigmoid(-select_2), 0.0)  # (review, i)
        f_const = value.sum(-1)  # (review,)
        select_3 = torch.where(inside_i, select_2, 0.0)  # (review, i)
        int_pow_y_len = 2 ** y_len  # (review,)
        classify = self.classify.elements(y)  # (review, T + 1, H)
        count = number_of_joint_values(y.shape[1], 2, self.max_joint_values)
        x = batch["x"]  # (review,)
        log_joint = every_log_joint(
            self.log_joint_of_f,
            (int_pow_y_len, classify, x, select_3, f_const),
            count,
            values_at_once(y_len.shape[0] * (12 * 265), self.memory, self.one.device),
            self.one.device,
        )  # (review, f[i])
        f = torch.where(inside_i[:, :, None], tilt["f"], 0.0)  # (review, i, f)
        over = over_joint_values(f)  # (review, f[i])
        return total(log_joint + over)  # (review,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        y_len = batch["y_len"]  # (review,)
        y = batch["y"]  # (review, i)
        value = self.one.new_zeros(y_len.shape[0], y.shape[1], 2)  # (review, i, f)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        return {"f": value}, {"f": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        f: bit, (review, i).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

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
