"""SpanParser: emitted by vispec from span_parser.vispec; imports torch and nothing else.

    log_prob: exact


    y  data; given by the data
    t  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# rows: along_lengths
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: unused
# sums.logsum: LogSumExp
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# told.decide: predictive
# trees.brackets: algebra_of
# trees.brackets: cell
# trees.brackets: counted
# trees.brackets: is_parse
# trees.brackets: phrases_of
# trees.brackets: told_of
# trees.spans: decide_spans
# trees.spans: labels_summed
# trees.spans: span_gradient
# trees.spans: span_save
# trees.spans: span_scores
# trees.spans: span_shapes
# trees.spans: span_sums
# trees.spans: spans_by
# trees.spans: spans_log_prob
# trees.spans: spans_score


class Score(nn.Module):
    """(words: token[V]*) → (first: real[L, 32]*, last: real[L, 32]*): lstm(embed=128, hidden=128, bidirectional)."""

    def __init__(self, V: int, L: int):
        super().__init__()
        self.L = L
        self.embed = nn.Embedding(V, 128)
        self.lstm = Bidirectional("LSTM", 128, 128)
        self.out = nn.Linear(256, 2 * (32 * L))

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 256)."""
        return self.lstm(self.embed(words), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """first (*B, T, L, 32), last (*B, T, L, 32)."""
        first, last = self.out(self.features(words, words_mask=words_mask)).split((32 * self.L, 32 * self.L), -1)
        return first.unflatten(-1, (self.L, 32)), last.unflatten(-1, (self.L, 32))


class SpanParser(nn.Module):
    """Batch: y (sentence, i) token[V]; t (sentence, i) parse[i, L]; y_len (sentence)."""

    exact = True
    estimator = "exact"

    def __init__(self, V: int, L: int):
        super().__init__()
        self.L = L
        self.score = Score(V, L)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        t = batch["t"]  # (sentence, i, 4)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(t.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        y = batch["y"]  # (sentence, i)
        score_first, score_last = self.score(y, words_mask=inside_i)  # (sentence, i, L, 32)
        span = span_scores(score_first, score_last)  # (sentence, i, t_last, L)
        spans = spans_score(span, t, y_len)  # (sentence,)
        spans_2 = spans_log_prob(span, (self.one * 0.0).expand(t.shape[1], self.L), y_len)  # (sentence,)
        is_parse_ = is_parse(t, y_len, fewest=1)  # (sentence,)
        log_t = torch.where(is_parse_, spans - spans_2, -torch.inf)  # (sentence,)
        return impossible_alone(log_t)  # (sentence,)

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
        score_first, score_last = self.score(y, words_mask=inside_i)  # (sentence, i, L, 32)
        span = span_scores(score_first, score_last)  # (sentence, i, t_last, L)
        value = self.one.new_zeros(n, y.shape[1], self.L)  # (sentence, i, L)
        t = decide_spans(span, value, length=y_len, rule=rule)  # (sentence, i, 4)
        t_padded = up_to_the_ends(t, inside_i)  # (sentence, i, 4)
        return {"y": y, "t": t_padded, "y_len": y_len}

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
        rows, kinds = len(batch["y"]), dict.fromkeys(("t",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
