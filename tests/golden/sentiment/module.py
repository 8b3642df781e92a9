"""Sentiment: emitted by vispec from sentiment.vispec; imports torch and nothing else.

    log_prob: exact


    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# heap: keep_pages
# layers.sequence: masked_mean
# layers.sequence: weighted_sum
# rows: with_room
# sums.logsum: impossible_alone
# sums.selected: logits_log_prob
# told.decide: decide
# told.decide: predictive


class Classify(nn.Module):
    """(words: token[V]*) → simplex[5]: embed(100) |> dropout(0.3) |> mean |> mlp([100]) |> dropout(0.3)."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 100)
        self.dropout = nn.Dropout(0.3)
        self.mlp = nn.Sequential(nn.Linear(100, 100), nn.ReLU())
        self.dropout2 = nn.Dropout(0.3)
        self.out = nn.Linear(100, 5)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 100)."""
        h = self.mlp(masked_mean(self.dropout(self.embed(words)), words_mask))  # (*B, 100)
        return self.dropout2(h)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(words, words_mask=words_mask))


class Sentiment(nn.Module):
    """Batch: y (text, i) token[V]; x (text) category[5]; y_len (text)."""

    exact = True
    estimator = "exact"

    def __init__(self, V: int):
        super().__init__()
        self.classify = Classify(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (text,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (text, i)
        y_len = batch["y_len"]  # (text,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (text, i)
        classify = self.classify(y, words_mask=inside_i)  # (text, 5)
        x = batch["x"]  # (text,)
        log_x = logits_log_prob(classify, x)  # (text,)
        return impossible_alone(log_x)  # (text,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (text, i)
        y_len = batch["y_len"]  # (text,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (text, i)
        classify = self.classify(y, words_mask=inside_i)  # (text, 5)
        x = decide(torch.distributions.Categorical(logits=classify).expand((n,)), rule, False)  # (text,)
        return {"y": y, "x": x, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for
        models with latents.
        """
        rows, kinds = len(batch["y"]), dict.fromkeys(("x",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
