"""From data files to minibatches: `load(model, arguments, ...)` gives a Dataset, or raises DataError."""

from vispec.train.data.cached.load import load
from vispec.train.data.dataset import Dataset
from vispec.train.data.diagnostics import DataDiagnostic, DataError, render, to_json
from vispec.train.data.encoding.vocab import Encoders, Vocabulary

__all__ = ["DataDiagnostic", "DataError", "Dataset", "Encoders", "Vocabulary", "load", "render", "to_json"]
