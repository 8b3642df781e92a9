"""Tagger: emitted by vispec from tagger.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_i = product over i of log_x

    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# rows: up_to_the_ends
# rows: with_room
# sums.logsum: impossible_alone
# sums.vocabulary: VocabularyLogProb
# sums.vocabulary: add_gradients
# sums.vocabulary: logits_at
# sums.vocabulary: pieces
# sums.vocabulary: vocabulary_log_prob
# told.decide: decide
# told.decide: predictive


class Tag(nn.Module):
    """(words: token[WORD]*) → simplex[TAG]*: lstm(embed=128, hidden=128, bidirectional) |> dropout(0.3)."""

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.embed = nn.Embedding(WORD, 128)
        self.lstm = Bidirectional("LSTM", 128, 128)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, TAG)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 256)."""
        return self.dropout(self.lstm(self.embed(words), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, T, TAG) unnormalised log-probabilities."""
        return self.out(self.features(words, words_mask=words_mask))


class Tagger(nn.Module):
    """Batch: y (sentence, i) token[WORD]; x (sentence, i) token[TAG]; y_len (sentence)."""

    exact = True
    estimator = "exact"

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.tag = Tag(WORD, TAG)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        x = batch["x"]  # (sentence, i)
        log_x = vocabulary_log_prob(self.tag.features(y, words_mask=inside_i), self.tag.out, x, inside_i)  # (sentence, i)
        log_x_over_i = log_x.sum(-1)  # (sentence,)
        return impossible_alone(log_x_over_i)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        tag = self.tag(y, words_mask=inside_i)  # (sentence, i, TAG)
        x = decide(torch.distributions.Categorical(logits=tag).expand((n, y.shape[1])), rule, False)  # (sentence, i)
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
        return {"y": y, "x": x_padded, "y_len": y_len}

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
