"""Classify: emitted by vispec from classify.vispec; imports torch and nothing else.

    log_prob: exact


    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# heap: keep_pages
# sums.logsum: impossible_alone
# sums.selected: logits_log_prob
# told.decide: decide
# told.decide: predictive


class FNet(nn.Module):
    """(y: real[D]) → simplex[K]: mlp([])."""

    def __init__(self, K: int, D: int):
        super().__init__()
        self.out = nn.Linear(D, K)

    def features(self, y: Tensor) -> Tensor:
        """y (*B, D) → (*B, D)."""
        return y

    def forward(self, y: Tensor) -> Tensor:
        """(*B, K) unnormalised log-probabilities."""
        return self.out(self.features(y))


class Classify(nn.Module):
    """Batch: y (n, D) real[D]; x (n) category[K]."""

    exact = True
    estimator = "exact"

    def __init__(self, D: int, K: int = 3):
        super().__init__()
        self.f = FNet(K, D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n, K)
        x = batch["x"]  # (n,)
        log_x = logits_log_prob(f, x)  # (n,)
        return impossible_alone(log_x)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n, K)
        x = decide(torch.distributions.Categorical(logits=f).expand((n,)), rule, False)  # (n,)
        return {"y": y, "x": x}

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
