"""Where a fit starts that goes out from another run: at the parameters of that run which the new module has too."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from vispec.model.model import Model
from vispec.train.data import Encoders
from vispec.train.data.encoding.vocab import settings
from vispec.train.errors import RunError
from vispec.train.store.checkpoint import Tensors
from vispec.train.store.run import Run


@dataclass(frozen=True)
class Start:
    """tensors: the best parameters of the run in `folder`, by name. encoders: its vocabularies and labels."""

    folder: Path
    tensors: Tensors
    encoders: Encoders

    def matching(self, module: nn.Module) -> Tensors:
        """Those tensors of the run that the module has under the same name in the same shape; RunError where there is none."""
        state = module.state_dict()
        found = {name: value for name, value in self.tensors.items() if name in state and value.shape == state[name].shape}
        if not found:
            raise RunError(f"--from {self.folder}: no parameter of that run has the name and shape of one of this model")
        return found

    def describe(self, module: nn.Module, taken: Tensors) -> str:
        """How many tensors were taken, and which of the module's start afresh."""
        fresh = [name for name in module.state_dict() if name not in taken]
        text = f"starting from {self.folder}: {len(taken)} of {len(taken) + len(fresh)} parameters"
        return text if not fresh else f"{text}; afresh: {', '.join(map(self._reason, fresh))}"

    def _reason(self, name: str) -> str:
        return f"{name} ({tuple(self.tensors[name].shape)} there)" if name in self.tensors else name


def read_start(folder: Path, model: Model, trust: bool = False) -> Start:
    """The run in `folder`, with what this model can use of its encoders; RunError where it is no run or has no parameters."""
    run = Run.open(folder, trust)
    known = run.encoders
    ways = {vocab.name: settings(vocab) for vocab in model.vocabs}
    pieces = {vocab.name for vocab in model.vocabs if dict(vocab.options).get("subword")}
    same = {
        name: vocabulary
        for name, vocabulary in known.vocabularies.items()
        if name in ways
        and all(getattr(vocabulary, key) == value for key, value in ways[name].items())
        and (vocabulary.pieces is not None) == (name in pieces)
    }
    return Start(folder, run.parameters(), Encoders(same, known.labels))
