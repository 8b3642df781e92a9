"""Where a table starts that has `from="vectors.txt"`: at the vectors of its words, as word2vec and GloVe write them.

A line is a word and its numbers, between blanks; word2vec has a first line of two whole numbers, how many words and how many
numbers each. The file may be far larger than what is read of it.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vispec.model.model import Embedding, Model
from vispec.named import called, has
from vispec.train.data import Encoders
from vispec.train.data.files import opened
from vispec.train.errors import RunError
from vispec.train.store.checkpoint import Tensors


@dataclass(frozen=True)
class Vectors:
    """path: of the file. width: how many numbers each of its vectors must have."""

    path: Path
    width: int

    def of(self, ids: Mapping[str, int]) -> dict[int, list[float]]:
        """Those of these words, by their ids, the first of each; RunError names the line of one that is none."""
        found: dict[int, list[float]] = {}
        for number, line in enumerate(self.lines(), start=1):
            word, *told = line.rstrip(" ").rsplit(" ", self.width)
            if number == 1 and is_head(line):
                self.check(int(line.split()[1]), number)
                continue
            if len(told) != self.width or not word:
                self.check(len(line.split()) - 1, number)
            if word in ids and ids[word] not in found:
                try:
                    found[ids[word]] = [float(each) for each in told]
                except ValueError:
                    raise RunError(f"{self.path}, line {number}: not a word and {self.width} numbers") from None
        return found

    def check(self, numbers: int, line: int) -> None:
        if numbers != self.width:
            raise RunError(f"{self.path}, line {line}: {numbers} numbers, and the embedding has {self.width} for each word")

    def lines(self) -> Iterator[str]:
        """Those that are not blank."""
        try:
            with opened(str(self.path)).open() as stream:
                for raw in stream:
                    if line := raw.decode("utf-8").rstrip("\r\n"):
                        yield line
        except UnicodeDecodeError:
            raise RunError(f"{self.path}: the file is not in UTF-8") from None
        except (OSError, EOFError, zlib.error) as error:
            raise RunError(f"cannot read {self.path}: {getattr(error, 'strerror', None) or error}") from None


def is_head(line: str) -> bool:
    """Whether a file's first line only counts its words and numbers."""
    fields = line.split()
    return len(fields) == 2 and all(field.isascii() and field.isdigit() for field in fields)


def read_vectors(model: Model, module: nn.Module, encoders: Encoders, known: Tensors, seed: int) -> tuple[Tensors, list[str]]:
    """Tables that start in a file and are not known already, and a sentence about each. Words without a vector get numbers at
    random, as spread out as those of the others."""
    found: Tensors = {}
    told = []
    for table in model.embeddings:
        name = f"{called(module, table.name)}.weight"
        if table.file is None or not has(module, table.name) or name in known:
            continue
        found[name], count = filled(table, model, module.state_dict()[name], encoders, seed)
        rest = len(found[name]) - count
        told.append(f"{table.name}: {count:,} of {len(found[name]):,} words start at their vectors in {table.file}")
        told[-1] += f", {rest:,} at random" if rest else ""
    return found, told


def filled(table: Embedding, model: Model, like: Tensor, encoders: Encoders, seed: int) -> tuple[Tensor, int]:
    """The table's numbers, and how many of its words are in the file; RunError where none is."""
    path = Path(model.source.name).parent / str(table.file)
    vectors = Vectors(path, like.shape[1]).of(encoders.vocabularies[str(table.rows)].ids)
    if not vectors:
        raise RunError(f"{path}: it has a vector of no word of `{table.rows}`")
    rows, numbers = torch.tensor(list(vectors)), torch.tensor(list(vectors.values()), dtype=like.dtype)
    if not numbers.isfinite().all():
        raise RunError(f"{path}: some of its numbers are not finite")
    noise = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)
    found = noise * numbers.square().mean().sqrt()
    found[rows] = numbers
    return found, len(rows)
