"""Characters: emitted by vispec from characters.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_i = product over i of log_x

    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# heap: keep_pages
# layers.recurrent: Recurrent
# layers.sequence: after_start
# layers.steps: or_start
# layers.steps: recurrent_next
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
# told.decode: add_best
# told.decode: add_given_up
# told.decode: beam_search
# told.decode: chosen_rows
# told.decode: decoded
# told.decode: draw_element
# told.decode: next_law
# told.decode: one_by_one
# told.decode: pick_ranks
# told.decode: ranked_sequences


class Lm(nn.Module):
    """(prefix: token[CHAR]*) → simplex[CHAR]: lstm(embed=256, hidden=256) |> dropout(0.5)."""

    def __init__(self, CHAR: int):
        super().__init__()
        self.embed = nn.Embedding(CHAR, 256)
        self.start = nn.Parameter(torch.zeros(256))
        self.lstm = Recurrent("LSTM", 256, 256, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(256, CHAR)

    def prefix_features(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, T) → (*B, T, 256); position i has read only what stands before it."""
        return self.dropout(self.lstm(after_start(self.embed(prefix), self.start)))

    def prefixes(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, CHAR) unnormalised log-probabilities."""
        return self.out(self.prefix_features(prefix, prefix_mask=prefix_mask))

    def next_features(self, kept: dict[str, Tensor], prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, 1 or 0) → (*B, 256): of the position behind those that `kept` has read."""
        h = recurrent_next(self.lstm, or_start(self.embed(prefix), self.start), kept, "lm.lstm")  # (*B, 1, 256)
        return self.dropout(h).squeeze(-2)

    def next(self, kept: dict[str, Tensor], prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, CHAR) unnormalised log-probabilities."""
        return self.out(self.next_features(kept, prefix, prefix_mask=prefix_mask))


class Characters(nn.Module):
    """Batch: x (word, i) token[CHAR]; x_len (word)."""

    exact = True
    estimator = "exact"

    def __init__(self, CHAR: int):
        super().__init__()
        self.lm = Lm(CHAR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (word,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        x_len = batch["x_len"]  # (word,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (word, i)
        log_x = vocabulary_log_prob(self.lm.prefix_features(x), self.lm.out, x, inside_i)  # (word, i)
        log_x_over_i = log_x.sum(-1)  # (word,)
        return impossible_alone(log_x_over_i)  # (word,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def begin_x(self, n: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each element of x reads, the same at all of them; rows first."""
        return {}

    @torch.no_grad()
    def next_x(self, kept: dict[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities of the next element of x, which is the last of x and not read."""
        x_last = x[:, -2:-1]
        lm_raw = self.lm.next(kept, x_last)  # (word, CHAR)
        return lm_raw.log_softmax(-1)  # (word, CHAR)

    @torch.no_grad()
    def sequences(
        self, batch: dict[str, Tensor], n: int, end: int, longest: int | Tensor, rule: str = "greedy", **how
    ) -> dict[str, Tensor]:
        """x of n rows, element by element up to the symbol `end`; see `decoded`."""
        rows, begin, steps = (), self.begin_x, (self.next_x,)
        return decoded(rows, begin, steps, batch, n, end, longest, rule, **how)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        i_size = max(int(lengths["i"].max()), 1)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (word, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            lm = self.lm.next(kept, x[:, i - 1 : i])  # (word, CHAR)
            x_now = decide(torch.distributions.Categorical(logits=lm).expand((n,)), rule, True)  # (word,)
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (word, i)
        x_padded = up_to_the_ends(x, inside_i)  # (word, i)
        return {"x": x_padded, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("i",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for
        models with latents.
        """
        rows, kinds = len(next(iter(batch.values()))), dict.fromkeys(("x",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
