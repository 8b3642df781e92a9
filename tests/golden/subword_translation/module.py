"""SubwordTranslation: emitted by vispec from subword_translation.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_i = product over i of log_x

    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# heap: keep_pages
# layers.attention: Block
# layers.attention: Transformer
# layers.attention: or_padding
# layers.attention: sinusoids
# layers.cross: CrossBlock
# layers.cross: CrossTransformer
# layers.sequence: after_start
# layers.steps: appended
# layers.steps: cross_transformer_next
# layers.steps: elements_before
# layers.steps: joined_to
# layers.steps: once
# layers.steps: or_start
# layers.tables: Shared
# layers.tables: Tied
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


class Encode(nn.Module):
    """(source: token[EN]*) → real[256]*: embed(256) |> dropout(0.1) |> transformer(256, layers=3, hidden=512, dropout=0.1)."""

    def __init__(self, EN: int):
        super().__init__()
        self.embed = nn.Embedding(EN, 256)
        self.dropout = nn.Dropout(0.1)
        self.transformer = Transformer(256, 4, 3, 512, dropout=0.1)
        self.out = nn.Linear(256, 256)

    def features(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """source (*B, T) → (*B, T, 256)."""
        return self.transformer(self.dropout(self.embed(source)), source_mask)

    def forward(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """(*B, T, 256)."""
        return self.out(self.features(source, source_mask=source_mask))


class Decode(nn.Module):
    """(prefix: token[DE]*, memory: real[256]*) → simplex[DE]:

    embed(D) |> layernorm |> dropout(0.1) |> transformer(256, layers=3, hidden=512, dropout=0.1, attend) |> tied(D)
    """

    def __init__(self, D: nn.Embedding):
        super().__init__()
        self.D = Shared(D)
        self.layernorm = nn.LayerNorm(256)
        self.dropout = nn.Dropout(0.1)
        self.start = nn.Parameter(torch.zeros(256))
        self.transformer = CrossTransformer(256, 4, 3, 512, 256, dropout=0.1, causal=True)
        self.out = Tied(D)

    def prefix_features(
        self, prefix: Tensor, memory_: Tensor, prefix_mask: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """prefix (*B, T), memory_ (*B, S, 256) → (*B, T, 256); position i has read only what stands before it."""
        h = after_start(self.dropout(self.layernorm(self.D(prefix))), self.start)  # (*B, T, 256)
        return self.transformer(h, memory_, memory_mask)

    def prefixes(
        self, prefix: Tensor, memory_: Tensor, prefix_mask: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """(*B, T, DE) unnormalised log-probabilities."""
        return self.out(self.prefix_features(prefix, memory_, prefix_mask=prefix_mask, memory_mask=memory_mask))

    def next_features(
        self,
        kept: dict[str, Tensor],
        prefix: Tensor,
        memory_: Tensor,
        prefix_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """prefix (*B, 1 or 0), memory_ (*B, S, 256) → (*B, 256): of the position behind those that `kept` has read."""
        h = or_start(self.dropout(self.layernorm(self.D(prefix))), self.start)  # (*B, 1, 256)
        h = cross_transformer_next(self.transformer, h, memory_, memory_mask, kept, "decode.transformer")  # (*B, 1, 256)
        return h.squeeze(-2)

    def next(
        self,
        kept: dict[str, Tensor],
        prefix: Tensor,
        memory_: Tensor,
        prefix_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """(*B, DE) unnormalised log-probabilities."""
        return self.out(self.next_features(kept, prefix, memory_, prefix_mask=prefix_mask, memory_mask=memory_mask))


class SubwordTranslation(nn.Module):
    """Batch: y (pair, j) token[EN]; x (pair, i) token[DE]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"

    def __init__(self, EN: int, DE: int):
        super().__init__()
        self.D = nn.Embedding(DE, 256)
        nn.init.normal_(self.D.weight, std=256**-0.5)  # outputs are made by it too
        self.encode = Encode(EN)
        self.decode = Decode(self.D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, source_mask=inside_j)  # (pair, j, 256)
        x = batch["x"]  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        log_x = vocabulary_log_prob(
            self.decode.prefix_features(x, h, memory_mask=inside_j), self.decode.out, x, inside_i
        )  # (pair, i)
        log_x_over_i = log_x.sum(-1)  # (pair,)
        return impossible_alone(log_x_over_i)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def begin_x(self, n: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each element of x reads, the same at all of them; rows first."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, source_mask=inside_j)  # (pair, j, 256)
        return {"h": h, "inside": inside_j}

    @torch.no_grad()
    def next_x(self, kept: dict[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities of the next element of x, which is the last of x and not read."""
        h, inside = kept["h"], kept["inside"]
        x_last = x[:, -2:-1]
        decode_raw = self.decode.next(kept, x_last, h, memory_mask=inside)  # (pair, DE)
        return decode_raw.log_softmax(-1)  # (pair, DE)

    @torch.no_grad()
    def sequences(
        self, batch: dict[str, Tensor], n: int, end: int, longest: int | Tensor, rule: str = "greedy", **how
    ) -> dict[str, Tensor]:
        """x of n rows, element by element up to the symbol `end`; see `decoded`."""
        rows, begin, steps = ("y", "y_len"), self.begin_x, (self.next_x,)
        return decoded(rows, begin, steps, batch, n, end, longest, rule, **how)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        i_size = max(int(lengths["i"].max()), 1)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, source_mask=inside_j)  # (pair, j, 256)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            decode = self.decode.next(kept, x[:, i - 1 : i], h, memory_mask=inside_j)  # (pair, DE)
            x_now = decide(torch.distributions.Categorical(logits=decode).expand((n,)), rule, True)  # (pair,)
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (pair, i)
        x_padded = up_to_the_ends(x, inside_i)  # (pair, i)
        return {"y": y, "x": x_padded, "y_len": y_len, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

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
        rows, kinds = len(batch["y"]), dict.fromkeys(("x",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
