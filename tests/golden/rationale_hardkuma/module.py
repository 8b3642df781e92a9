"""RationaleHardkuma: emitted by vispec from rationale_hardkuma.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, mc(samples=1)


    y  data; given by the data
    f  mc(samples=1); continuous; drawn from its own law
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# distinct: distinct
# heap: keep_pages
# probability: log_1_minus_exp
# rows: with_room
# sums.lookup: cells
# sums.lookup: pick_last
# sums.selected: logits_log_prob
# told.decide: decide
# told.decide: predictive


def hard_kumaraswamy_sample(concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """A draw of the parameters' shape, with a gradient: of k = (1 - u^(1/b))^(1/a) where it is between the ends, 0 at them."""
    noise = torch.empty_like(concentration1 + concentration0)
    noise.uniform_(torch.finfo(noise.dtype).tiny, 1)
    k = torch.exp(log_1_minus_exp(-noise.log() / concentration0) / concentration1)
    return (1.2 * k - 0.1).clamp(0, 1)


class Select(nn.Module):
    """(word: token[V]) → (concentration1: positive, concentration0: positive): embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 2)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 64)."""
        return self.mlp(self.embed(word))

    def forward(self, word: Tensor) -> tuple[Tensor, ...]:
        """concentration1 (*B) before softplus, concentration0 (*B) before softplus."""
        concentration1, concentration0 = self.out(self.features(word)).unbind(-1)
        return concentration1.contiguous(), concentration0.contiguous()  # torch's softplus is slow on slices


class Meaning(nn.Module):
    """(word: token[V]) → real[128]: embed(128)."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.out = nn.Linear(128, 128)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 128)."""
        return self.embed(word)

    def forward(self, word: Tensor) -> Tensor:
        """(*B, 128)."""
        return self.out(self.features(word))


class Classify(nn.Module):
    """(bag: real[128]) → simplex[5]: mlp([128])."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.out = nn.Linear(128, 5)

    def features(self, bag: Tensor) -> Tensor:
        """bag (*B, 128) → (*B, 128)."""
        return self.mlp(bag)

    def forward(self, bag: Tensor) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(bag))


class RationaleHardkuma(nn.Module):
    """Batch: y (review, i) token[V]; x (review) category[5]; y_len (review)."""

    exact = False
    estimator = "mc(samples=1)"

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.meaning = Meaning(V)
        self.classify = Classify()
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """An estimate of log p of each row (review,), in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select_concentration1, select_concentration0 = self.select(y_words)  # (distinct,)
        select_concentration1_2 = pick_last(select_concentration1, y_row)  # (review, i)
        select_concentration1_3 = F.softplus(select_concentration1_2)  # (review, i)
        select_concentration0_2 = pick_last(select_concentration0, y_row)  # (review, i)
        select_concentration0_3 = F.softplus(select_concentration0_2)  # (review, i)
        f = hard_kumaraswamy_sample(select_concentration1_3, select_concentration0_3)  # (review, i)
        meaning = self.meaning(y_words)  # (distinct, 128)
        meaning_2 = cells(meaning, y_row)  # (review, i, 128)
        kept = f[:, :, None] * meaning_2  # (review, i, 128)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        kept_2 = torch.where(inside_i[:, :, None], kept, 0.0)  # (review, i, 128)
        ratio = kept_2.sum(1) / y_len.clamp(min=1)[:, None]  # (review, 128)
        classify = self.classify(ratio)  # (review, 5)
        x = batch["x"]  # (review,)
        return logits_log_prob(classify, x)  # (review,)

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
        select_concentration1, select_concentration0 = self.select(y_words)  # (distinct,)
        select_concentration1_2 = pick_last(select_concentration1, y_row)  # (review, i)
        select_concentration1_3 = F.softplus(select_concentration1_2)  # (review, i)
        select_concentration0_2 = pick_last(select_concentration0, y_row)  # (review, i)
        select_concentration0_3 = F.softplus(select_concentration0_2)  # (review, i)
        f = hard_kumaraswamy_sample(
            select_concentration1_3.expand(samples, -1, -1), select_concentration0_3.expand(samples, -1, -1)
        )  # (s*, review, i)
        meaning = self.meaning(y_words)  # (distinct, 128)
        meaning_2 = meaning[y_row]  # (review, i, 128)
        kept = f[:, :, :, None] * meaning_2  # (s*, review, i, 128)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        kept_2 = torch.where(inside_i[:, :, None], kept, 0.0)  # (s*, review, i, 128)
        ratio = kept_2.sum(2) / y_len.clamp(min=1)[:, None]  # (s*, review, 128)
        classify = self.classify(ratio)  # (s*, review, 5)
        x = batch["x"]  # (review,)
        return logits_log_prob(classify, x)  # (s*, review)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (distinct,), (review, i)
        select_concentration1, select_concentration0 = self.select(y_words)  # (distinct,)
        select_concentration1_2 = pick_last(select_concentration1, y_row)  # (review, i)
        select_concentration1_3 = F.softplus(select_concentration1_2)  # (review, i)
        select_concentration0_2 = pick_last(select_concentration0, y_row)  # (review, i)
        select_concentration0_3 = F.softplus(select_concentration0_2)  # (review, i)
        f = hard_kumaraswamy_sample(select_concentration1_3, select_concentration0_3).detach()  # (review, i)
        y_len = batch["y_len"]  # (review,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (review, i)
        f_padded = torch.where(inside_i, f, 0.0)  # (review, i)
        meaning = self.meaning(y_words)  # (distinct, 128)
        meaning_2 = meaning[y_row]  # (review, i, 128)
        product = f[:, :, None] * meaning_2  # (review, i, 128)
        product_2 = torch.where(inside_i[:, :, None], product, 0.0)  # (review, i, 128)
        ratio = product_2.sum(1) / y_len.clamp(min=1)[:, None]  # (review, 128)
        classify = self.classify(ratio)  # (review, 5)
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
