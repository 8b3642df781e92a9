"""From data files to minibatches: `load(model, arguments, ...)` gives a Dataset, or raises DataError."""

from vispec.train.data.dataset import Dataset
from vispec.train.data.diagnostics import DataDiagnostic, DataError, render, to_json
from vispec.train.data.encoding.vocab import Encoders, Vocabulary
from vispec.train.data.load import load

__all__ = ["DataDiagnostic", "DataError", "Dataset", "Encoders", "Vocabulary", "load", "render", "to_json"]
