"""CrfTagger: emitted by vispec from crf_tagger.vispec; imports torch and the standard library.

    log_prob: exact

    log_tag_over_i = product over i of log_tag
    total = product of norm_tag, log_tag_over_i

    y    data; given by the data
    tag  data; scored at the data
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
from collections.abc import Sequence
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
# native.chain: Chains
# native.chain: NativeChains
# native.chain: by_columns
# native.chain: native_sums
# native.chain: parted
# native.chain: swept
# native.library: build
# native.library: cache_folder
# native.library: compiler
# native.library: flags
# native.library: library
# native.library: loaded
# native.library: own
# native.library: place
# native.library: processor
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: chain_total
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: ChainSums
# sums.chain: batch_of
# sums.chain: canonical
# sums.chain: chain_gradient
# sums.chain: chain_log_prob
# sums.chain: chain_save
# sums.chain: chain_shapes
# sums.chain: chain_sums
# sums.chain: fill
# sums.chain: levelled
# sums.chain: log_sums
# sums.chain: pairs_of
# sums.chain: proportions
# sums.chain: remainders
# sums.chain: scaled_sums
# sums.chain: sums
# sums.chain: unused
# sums.linear_chain: decide_labels
# sums.logsum: impossible_alone
# sums.logsum: weights
# sums.lookup: cells
# sums.lookup: pick_last
# sums.lookup: steps_back
# sums.sweep: Room
# sums.sweep: imprecise
# told.decide: predictive


class Score(nn.Module):
    """(words: token[WORD]*) → real[TAG]*: lstm(embed=128, hidden=128, bidirectional) |> dropout(0.3)."""

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
        """(*B, T, TAG)."""
        return self.out(self.features(words, words_mask=words_mask))


class CrfTagger(nn.Module):
    """Batch: y (sentence, i) token[WORD]; tag (sentence, i) labels[i, TAG]; y_len (sentence)."""

    exact = True
    estimator = "exact"

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.TAG = TAG
        self.move = nn.Parameter(torch.zeros(TAG, TAG))  # (TAG, TAG)
        self.score = Score(WORD, TAG)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = at_i < y_len[:, None]  # (sentence, i)
        score = self.score(y, words_mask=inside_i)  # (sentence, i, TAG)
        tag = batch["tag"]  # (sentence, i)
        score_at = pick_last(score, tag)  # (sentence, i)
        tag_before = steps_back(tag, 1, dim=1, fill=0)  # (sentence, i)
        move_at = cells(self.move, tag_before, tag)  # (sentence, i)
        log_tag = torch.where(at_i == 0, 0.0, move_at) + score_at  # (sentence, i)
        sum_i = torch.where(inside_i, log_tag, 0.0).sum(-1)  # (sentence,)
        chain = chain_log_prob((self.one * 0.0).expand(self.TAG), self.move, score, y_len)  # (sentence,)
        norm_tag = -chain  # (sentence,)
        return impossible_alone(norm_tag + sum_i)  # (sentence,)

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
        score = self.score(y, words_mask=inside_i)  # (sentence, i, TAG)
        tag = decide_labels(score, self.move, length=y_len, rule=rule, read=False)  # (sentence, i)
        tag_padded = up_to_the_ends(tag, inside_i)  # (sentence, i)
        return {"y": y, "tag": tag_padded, "y_len": y_len}

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
        rows, kinds = len(batch["y"]), dict.fromkeys(("tag",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
