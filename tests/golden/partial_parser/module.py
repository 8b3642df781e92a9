"""PartialParser: emitted by vispec from partial_parser.vispec; imports torch and the standard library.

    log_prob: exact

    projective_tree_head = projective_tree of head along i (one chart over stretches) of arcs_head, seen_head
    total = product of norm_head, projective_tree_head

    y     data; given by the data
    head  projective trees, summed; discrete; a projective tree along i: one chart over stretches
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# native.library: build
# native.library: cache_folder
# native.library: compiler
# native.library: flags
# native.library: library
# native.library: loaded
# native.library: own
# native.library: place
# native.library: processor
# native.projective: NativeTrees
# native.projective: TreeCharts
# native.projective: charted
# native.projective: native_trees
# rows: along_lengths
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: unused
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# told.predict: labelled
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
# trees.elimination: inside
# trees.projective: below_root
# trees.projective: best_of
# trees.projective: chart
# trees.projective: decide_projective
# trees.projective: last_width
# trees.projective: projective_gradient
# trees.projective: projective_log_prob
# trees.projective: projective_mode
# trees.projective: projective_sample
# trees.projective: projective_save
# trees.projective: projective_shapes
# trees.projective: projective_sums
# trees.projective: projective_total
# trees.projective: share_of_best
# trees.projective: share_of_drawn
# trees.projective: share_of_sum
# trees.projective: sum_of
# trees.projective: summed_up
# trees.projective: sweep
# trees.tree: arc_scores
# trees.tree: decided
# trees.tree: flat_trees
# trees.tree: heads_of
# trees.tree: total_of_trees
# trees.tree: tree_score
# trees.tree: tree_shares


class Score(nn.Module):
    """(words: token[V]*) → (head: real[256]*, dependent: real[256]*, root: real*):

    embed(128) |> dropout(0.33) |> lstm(hidden=256, layers=2, bidirectional, dropout=0.33) |> dropout(0.33)
    """

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.dropout = nn.Dropout(0.33)
        self.lstm = Bidirectional("LSTM", 128, 256, 2, dropout=0.33)
        self.dropout2 = nn.Dropout(0.33)
        self.out = nn.Linear(512, 513)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 512)."""
        return self.dropout2(self.lstm(self.dropout(self.embed(words)), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """head (*B, T, 256), dependent (*B, T, 256), root (*B, T)."""
        head, dependent, root = self.out(self.features(words, words_mask=words_mask)).split((256, 256, 1), -1)
        return head, dependent, root.squeeze(-1)


class PartialParser(nn.Module):
    """Batch:
        y (sentence, i) token[V]
        head (sentence, i) tree[i]
        head_observed (sentence, i) bool
        y_len (sentence)
    """

    exact = True
    estimator = "exact"
    sums = (
        "projective_tree_head = projective_tree of head along i (one chart over stretches) of arcs_head, seen_head, tilt_head",
    )

    def __init__(self, V: int):
        super().__init__()
        self.score = Score(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 256), (sentence, i)
        arc = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, i and root)
        head = batch["head"]  # (sentence, i)
        test = torch.arange(y.shape[1] + 1, device=self.one.device) != head[:, :, None]  # (sentence, i, head)
        head_observed = batch["head_observed"]  # (sentence, i)
        test_2 = head_observed[:, :, None] & test  # (sentence, i, head)
        seen_head = torch.where(test_2, self.one * -torch.inf, 0.0)  # (sentence, i, head)
        projective = projective_log_prob(arc + seen_head, y_len)  # (sentence,)
        projective_2 = projective_log_prob(arc, y_len)  # (sentence,)
        return impossible_alone(projective - projective_2)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 256), (sentence, i)
        arc = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, i and root)
        head = batch["head"]  # (sentence, i)
        test = torch.arange(tilt["head"].shape[2], device=self.one.device) != head[:, :, None]  # (sentence, i, head)
        head_observed = batch["head_observed"]  # (sentence, i)
        test_2 = head_observed[:, :, None] & test  # (sentence, i, head)
        seen_head = torch.where(test_2, self.one * -torch.inf, 0.0)  # (sentence, i, head)
        total_ = arc + seen_head + tilt["head"]  # (sentence, i, head)
        projective = projective_total(total, total_, y_len)  # (sentence,)
        projective_2 = projective_log_prob(arc, y_len)  # (sentence,)
        return projective - projective_2  # (sentence,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        y_len = batch["y_len"]  # (sentence,)
        y = batch["y"]  # (sentence, i)
        value = self.one.new_zeros(y_len.shape[0], y.shape[1], y.shape[1] + 1)  # (sentence, i, head)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        return {"head": value}, {"head": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        head: tree[i], (sentence, i).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 256), (sentence, i)
        arc = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, i and root)
        head = decide_projective(arc, length=y_len, read=False, rule=rule)  # (sentence, i)
        head_padded = up_to_the_ends(head, inside_i)  # (sentence, i)
        return {
            "y": y,
            "head": head_padded,
            "y_len": y_len,
            "head_observed": torch.tensor(True, device=self.one.device).expand(n, y.shape[1]),
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the best as a whole; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("head",), ("head",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
