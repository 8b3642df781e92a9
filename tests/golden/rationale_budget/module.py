"""RationaleBudget: emitted by vispec from rationale_budget.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, relaxed(straight_through=True, temperature=0.3)


    y  data; given by the data
    f  relaxed(straight_through=True, temperature=0.3); asked for relaxed; drawn from its own law; biased: draws lie between the values
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# casts: surely_unit
# distinct: distinct
# draws.relaxed: relaxed_bit
# heap: keep_pages
# probability: LogOfProbability
# probability: LogOfRest
# probability: log_of
# probability: log_of_rest
# rows: with_room
# sums.logsum: GradientAlone
# sums.logsum: gradient_alone
# sums.lookup: cells
# sums.lookup: pick_last
# sums.selected: logits_log_prob
# told.decide: decide
# told.decide: predictive


class Select(nn.Module):
    """(word: token[V]) → unit: embed(32) |> mlp([32])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
        self.out = nn.Linear(32, 1)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 32)."""
        return self.mlp(self.embed(word))

    def forward(self, word: Tensor) -> Tensor:
        """(*B) log-odds."""
        return self.out(self.features(word)).squeeze(-1)


class Meaning(nn.Module):
    """(word: token[V]) → real[100]: embed(100) |> dropout(0.3)."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 100)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(100, 100)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 100)."""
        return self.dropout(self.embed(word))

    def forward(self, word: Tensor) -> Tensor:
        """(*B, 100)."""
        return self.out(self.features(word))


class Classify(nn.Module):
    """(read: real[100]) → simplex[5]: mlp([100]) |> dropout(0.3)."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(100, 100), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(100, 5)

    def features(self, read: Tensor) -> Tensor:
        """read (*B, 100) → (*B, 100)."""
        return self.dropout(self.mlp(read))

    def forward(self, read: Tensor) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(read))


class RationaleBudget(nn.Module):
    """Batch: y (text, i) token[V]; x (text) category[5]; y_len (text)."""

    exact = False
    estimator = "relaxed(straight_through=True, temperature=0.3)"

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.meaning = Meaning(V)
        self.classify = Classify()
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (text,), in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (text, i)
        y_words, y_row = distinct(y)  # (distinct,), (text, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (text, i)
        s = select_2.sigmoid()  # (text, i)
        y_len = batch["y_len"]  # (text,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (text, i)
        sum_i = torch.where(inside_i, s, 0.0).sum(-1)  # (text,)
        ratio = (0.34 * y_len.to(self.one.dtype) + 1) / sum_i  # (text,)
        joined = torch.stack([(self.one * 1).expand(y_len.shape[0]), ratio], -1)  # (text, 2)
        least = joined.amin(-1)  # (text,)
        value = torch.where(inside_i, s * least[:, None], 0.5)  # (text, i)
        surely = surely_unit(value, said='`unit(s * least)` of `f`')  # (text, i)
        log1p_surely = log_of_rest(surely)  # (text, i)
        difference = log_of(surely) - log1p_surely  # (text, i)
        f = relaxed_bit(difference, temperature=0.3, straight_through=True, training=self.training)  # (text, i)
        meaning = self.meaning(y_words)  # (distinct, 100)
        meaning_2 = cells(meaning, y_row)  # (text, i, 100)
        read = f[:, :, None] * meaning_2  # (text, i, 100)
        read_2 = torch.where(inside_i[:, :, None], read, 0.0)  # (text, i, 100)
        ratio_2 = read_2.sum(1) / y_len.clamp(min=1)[:, None]  # (text, 100)
        classify = self.classify(ratio_2)  # (text, 5)
        x = batch["x"]  # (text,)
        return logits_log_prob(classify, x)  # (text,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, text)."""
        batch = with_room(batch)
        y = batch["y"]  # (text, i)
        y_words, y_row = distinct(y)  # (distinct,), (text, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (text, i)
        s = select_2.sigmoid()  # (text, i)
        y_len = batch["y_len"]  # (text,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (text, i)
        sum_i = torch.where(inside_i, s, 0.0).sum(-1)  # (text,)
        ratio = (0.34 * y_len.to(self.one.dtype) + 1) / sum_i  # (text,)
        joined = torch.stack([(self.one * 1).expand(y_len.shape[0]), ratio], -1)  # (text, 2)
        least = joined.amin(-1)  # (text,)
        value = torch.where(inside_i, s * least[:, None], 0.5)  # (text, i)
        surely = surely_unit(value, said='`unit(s * least)` of `f`')  # (text, i)
        f = torch.distributions.Bernoulli(probs=surely).expand((samples, y_len.shape[0], y.shape[1])).sample()  # (s*, text, i)
        meaning = self.meaning(y_words)  # (distinct, 100)
        meaning_2 = meaning[y_row]  # (text, i, 100)
        read = f[:, :, :, None] * meaning_2  # (s*, text, i, 100)
        read_2 = torch.where(inside_i[:, :, None], read, 0.0)  # (s*, text, i, 100)
        ratio_2 = read_2.sum(2) / y_len.clamp(min=1)[:, None]  # (s*, text, 100)
        classify = self.classify(ratio_2)  # (s*, text, 5)
        x = batch["x"]  # (text,)
        return logits_log_prob(classify, x)  # (s*, text)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (text, i)
        y_words, y_row = distinct(y)  # (distinct,), (text, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = pick_last(select, y_row)  # (text, i)
        s = select_2.sigmoid()  # (text, i)
        y_len = batch["y_len"]  # (text,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (text, i)
        sum_i = torch.where(inside_i, s, 0.0).sum(-1)  # (text,)
        ratio = (0.34 * y_len.to(self.one.dtype) + 1) / sum_i  # (text,)
        joined = torch.stack([(self.one * 1).expand(n), ratio], -1)  # (text, 2)
        least = joined.amin(-1)  # (text,)
        value = torch.where(inside_i, s * least[:, None], 0.5)  # (text, i)
        surely = surely_unit(value, said='`unit(s * least)` of `f`')  # (text, i)
        f = torch.distributions.Bernoulli(probs=surely).sample()  # (text, i)
        f_padded = torch.where(inside_i, f, 0.0)  # (text, i)
        meaning = self.meaning(y_words)  # (distinct, 100)
        meaning_2 = meaning[y_row]  # (text, i, 100)
        product = f[:, :, None] * meaning_2  # (text, i, 100)
        product_2 = torch.where(inside_i[:, :, None], product, 0.0)  # (text, i, 100)
        ratio_2 = product_2.sum(1) / y_len.clamp(min=1)[:, None]  # (text, 100)
        classify = self.classify(ratio_2)  # (text, 5)
        x = decide(torch.distributions.Categorical(logits=classify).expand((n,)), rule, False)  # (text,)
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
