"""What the encoding of one variable needs to know of the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.model.model import Model
from vispec.train.data.arrange import Path
from vispec.train.data.columns import Array
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.sizes import Sizes


@dataclass
class Context:
    """lengths: of lists, by path of plates. training: the encoders were built from this data."""

    model: Model
    sizes: Sizes
    lengths: Mapping[Path, Array]
    encoders: Encoders
    training: bool
    problems: Problems
