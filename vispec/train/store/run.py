"""A run folder: what `fit` leaves behind and every later command reads.

spec.vispec, module.py (exactly what `compile` prints), config.json, vocab/, metrics.jsonl, TensorBoard events,
last.safetensors (to resume from), best.safetensors (to use: the module's own state), report.html; and start.safetensors,
the stored numbers that a fit was told to start at: of the spec, of a file, or of the run that it went out from.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

import vispec
from vispec.model.model import Model
from vispec.source import Source
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.errors import RunError
from vispec.train.reading import Reading
from vispec.train.setup.given import fix
from vispec.train.setup.settings import Settings
from vispec.train.sizes import check
from vispec.train.store.checkpoint import Checkpoint, Tensors, read_tensors, write_tensors
from vispec.train.store.files import write_atomic
from vispec.train.store.module import load_class

BEST = "best.safetensors"
START = "start.safetensors"


class Config(BaseModel):
    """config.json. spec: the file as the user named it. name: the class in module.py. sizes: of the spec's sizes and
    vocabularies, as data and user told them. lengths: how often each length of a ragged plate came in the training data.
    columns, index, absent, drop: how tables are read, with the names of columns that ranges stood for.
    start: the run that it went out from. params: the file of values that it started at. gathered: by variable, the names of the
    columns that its vector was gathered from."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    vispec: str = vispec.__version__
    spec: str
    name: str
    sizes: dict[str, int]
    settings: Settings
    data: list[str]
    valid: list[str] = []
    columns: dict[str, list[str]] = {}
    start: str | None = None
    params: str | None = None
    rows: int
    tokens: int
    lengths: dict[str, dict[int, int]] = {}
    gathered: dict[str, list[str]] = {}
    index: dict[str, str] = {}
    absent: list[str] = []
    drop: bool = False

    @property
    def reading(self) -> Reading:
        """How the training data were read."""
        columns = {name: tuple(names) for name, names in self.columns.items()}
        return Reading(columns, self.index, tuple(self.absent), self.drop)


@dataclass(frozen=True)
class Run:
    """A run folder with its configuration read."""

    folder: Path
    config: Config

    @classmethod
    def create(
        cls, folder: Path, source: Source, module: str, encoders: Encoders, config: Config, start: Tensors | None
    ) -> "Run":
        """Write all that is known before training; config.json comes last and makes the folder a run."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "spec.vispec", source.text)
        write_atomic(folder / "module.py", module)
        encoders.save(folder / "vocab")
        if start is not None:
            write_tensors(folder / START, start, {})
        write_atomic(folder / "config.json", config.model_dump_json(indent=1) + "\n")
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in `folder`; RunError where there is none."""
        path = folder / "config.json"
        try:
            return cls(folder, Config.model_validate_json(path.read_bytes()))
        except OSError as error:
            kind = "a folder without config.json" if folder.is_dir() else "no folder"
            raise RunError(f"{folder} is {kind}, so it is no run; `vispec fit` makes one") from error
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise RunError(f"{path} is damaged: {where}: {problem['msg']}") from error

    @cached_property
    def source(self) -> Source:
        """The spec under the name that the user gave it, which names the class too."""
        try:
            return Source(self.config.spec, Source.read(self.folder / "spec.vispec").text)
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {self.folder / 'spec.vispec'}: {error}") from error

    @cached_property
    def model(self) -> Model:
        """The checked model at the sizes of this run."""
        return check(self.source, self.config.sizes)

    @cached_property
    def encoders(self) -> Encoders:
        """The vocabularies and labels of the training data."""
        try:
            return Encoders.load(self.folder / "vocab")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"the vocabularies in {self.folder / 'vocab'} are damaged: {error}") from error

    @property
    def start(self) -> Tensors | None:
        """The stored numbers that the fit was told to start at, by spec, file or another run; None where there are none."""
        path = self.folder / START
        return read_tensors(path)[0] if path.exists() else None

    @property
    def dtype(self) -> torch.dtype:
        """Of the module's numbers."""
        return torch.float64 if self.config.settings.precision == "float64" else torch.float32

    def build(self) -> nn.Module:
        """A fresh module with the sizes of this run."""
        return fix(load_class(self.folder / "module.py", self.config.name)(), self.model)

    def load(self, device: torch.device, memory: int | None = None) -> nn.Module:
        """The module with the best parameters, or the last ones where the fit has not come so far. memory: another bound, in
        bytes, on its sums over joint values, if it has any."""
        module = self.build().to(self.dtype)
        if memory is not None and hasattr(module, "memory"):
            module.memory = memory  # pyright: ignore[reportArgumentType]
        try:
            module.load_state_dict(self.parameters())
        except RuntimeError as error:
            raise RunError(f"the parameters in {self.folder} do not fit its module.py: {error}") from error
        return module.to(device).eval()

    def parameters(self) -> Tensors:
        """best.safetensors, or the model of last.safetensors."""
        if self.has_best:
            return read_tensors(self.folder / BEST)[0]
        checkpoint = self.checkpoint()
        if checkpoint is None:
            raise RunError(f"{self.folder} holds no parameters yet: its fit was stopped before the first checkpoint")
        return checkpoint.model

    @property
    def has_best(self) -> bool:
        """Whether the parameters to use are known: a fit without validation data knows them at its end."""
        return (self.folder / BEST).exists()

    def checkpoint(self) -> Checkpoint | None:
        """Where the fit stands, None before its first checkpoint."""
        path = self.folder / "last.safetensors"
        return Checkpoint.read(path) if path.exists() else None

    @property
    def finished(self) -> bool:
        """Whether the fit came to its end."""
        checkpoint = self.checkpoint()
        return checkpoint is not None and checkpoint.counters.finished


def new_folder(root: Path, spec: str) -> Path:
    """Make and return the first unused `root`/<spec>-<n>."""
    stem = Path(spec).stem
    number = 1
    while True:
        folder = root / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def latest_folder(root: Path, spec: str) -> Path | None:
    """The `root`/<spec>-<n> of the highest number, None where there is none."""
    stem = Path(spec).stem
    numbers = [
        int(suffix)
        for folder in (root.iterdir() if root.is_dir() else ())
        if folder.name.startswith(f"{stem}-") and (suffix := folder.name.removeprefix(f"{stem}-")).isdecimal()
    ]
    return root / f"{stem}-{max(numbers)}" if numbers else None
