"""A run folder: what `fit` leaves behind and every later command reads.

spec.vispec, module.py (exactly what `compile` prints), config.json, vocab/, metrics.jsonl, TensorBoard events,
last.safetensors (to resume from), best.safetensors (to use: the module's own state), report.html; and start.safetensors,
the stored numbers that a fit was told to start at: of the spec, of a file, or of the run that it went out from. What is read
again is held against manifest.json. A run without one (0.1.0) is compiled anew from its spec, as nobody knows whose module.py
it has.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

import vispec
from vispec.compile import class_of, compile_spec
from vispec.model.model import Model
from vispec.source import Source
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.errors import RunError
from vispec.train.reading import Reading
from vispec.train.setup.given import fix
from vispec.train.setup.settings import Settings
from vispec.train.sizes import check
from vispec.train.store.checkpoint import BEST, LAST, Checkpoint, Tensors, read_tensors, tensor_bytes
from vispec.train.store.files import write_atomic
from vispec.train.store.manifest import (
    Datum,
    Manifest,
    checked,
    data_of,
    read_manifest,
    seal_of,
    seal_of_file,
    settle,
    write_manifest,
)
from vispec.train.store.metrics import FILE
from vispec.train.store.module import class_of_text, load_class

MODULE = "module.py"
SPEC = "spec.vispec"
CONFIG = "config.json"
VOCAB = "vocab"
START = "start.safetensors"
VERIFY = "verify.json"
ESTIMATES = "estimates.json"
PARTS = (START, BEST, LAST, FILE, VERIFY, ESTIMATES)  # what a run may have, besides what each has from its beginning


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

    def to_text(self) -> str:
        return self.model_dump_json(indent=1) + "\n"


@dataclass(frozen=True)
class Run:
    """A run folder with its configuration read. trust: whether its files are taken as they are, module.py too."""

    folder: Path
    config: Config
    trust: bool = False

    @classmethod
    def create(
        cls,
        folder: Path,
        source: Source,
        module: str,
        encoders: Encoders,
        config: Config,
        start: Tensors | None,
        data: Mapping[str, Datum],
    ) -> "Run":
        """Write all that is known before training; config.json comes last and makes the folder a run."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / SPEC, source.text)
        write_atomic(folder / MODULE, module)
        encoders.save(folder / VOCAB)
        if start is not None:
            write_atomic(folder / START, tensor_bytes(start, {}))
        text = config.to_text()
        written = [SPEC, MODULE, *(f"{VOCAB}/{name}" for name in encoders.files), *([START] if start is not None else [])]
        files = {name: (seal_of_file(folder / name),) for name in written} | {CONFIG: (seal_of(text.encode()),)}
        write_manifest(folder, Manifest(files=files, data=dict(data)))
        write_atomic(folder / CONFIG, text)
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path, trust: bool = False) -> "Run":
        """The run in `folder`; RunError where there is none, or its files are not those that were written."""
        path = folder / CONFIG
        try:
            content = path.read_bytes()
            checked(folder, CONFIG, trust)
            return cls(folder, Config.model_validate_json(content), trust)
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
            return Source(self.config.spec, Source.read(self.file(SPEC)).text)
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {self.folder / SPEC}: {error}") from error

    @cached_property
    def model(self) -> Model:
        """The checked model at the sizes of this run."""
        return check(self.source, self.config.sizes)

    @cached_property
    def encoders(self) -> Encoders:
        """The vocabularies and labels of the training data."""
        folder = self.folder / VOCAB
        try:
            self.file(f"{VOCAB}/encoders.json")
            found = Encoders.load(folder)
            for name in found.files:
                self.file(f"{VOCAB}/{name}")
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"the vocabularies in {folder} are damaged: {error}") from error

    @property
    def start(self) -> Tensors | None:
        """The stored numbers that the fit was told to start at, by spec, file or another run; None where there are none."""
        return read_tensors(self.file(START))[0] if (self.folder / START).exists() else None

    @property
    def dtype(self) -> torch.dtype:
        """Of the module's numbers."""
        return getattr(torch, self.config.settings.numbers)

    def build(self) -> nn.Module:
        """A fresh module with the sizes of this run."""
        return fix(self.module_class(), self.model)

    @cached_property
    def module_class(self) -> type[nn.Module]:
        """The class in module.py, or of a module compiled anew, where nothing says that this file is what vispec wrote."""
        if not self.fresh:
            return load_class(self.file(MODULE), self.config.name)
        return class_of_text(self.compiled, class_of(self.compiled))

    @property
    def fresh(self) -> bool:
        """Whether the module is compiled anew."""
        return not self.trust and read_manifest(self.folder) is None

    @cached_property
    def compiled(self) -> str:
        """What `compile` prints now of the spec, whose sums were within their budget when the fit began."""
        return compile_spec(self.source, self.config.sizes, work=sys.maxsize)

    def file(self, name: str) -> Path:
        """The path of one of its files, which is what was written; RunError where it is not."""
        return checked(self.folder, name, self.trust)

    def load(self, device: torch.device, memory: int | None = None) -> nn.Module:
        """The module with the best parameters, or the last ones where the fit has not come so far. memory: another bound, in
        bytes, on its sums over joint values, if it has any."""
        module = self.build().to(self.dtype)
        if memory is not None and hasattr(module, "memory"):
            module.memory = memory  # pyright: ignore[reportArgumentType]
        try:
            module.load_state_dict(self.parameters())
        except RuntimeError as error:
            kind = "the module of this version; --trust runs its own module.py" if self.fresh else "its module.py"
            raise RunError(f"the parameters in {self.folder} do not fit {kind}: {error}") from error
        return module.to(device).eval()

    def parameters(self) -> Tensors:
        """best.safetensors, or the model of last.safetensors."""
        if self.has_best:
            return read_tensors(self.file(BEST))[0]
        checkpoint = self.checkpoint()
        if checkpoint is None:
            raise RunError(f"{self.folder} holds no parameters yet: its fit was stopped before the first checkpoint")
        return checkpoint.best if checkpoint.counters.finished and checkpoint.best else checkpoint.model

    @property
    def has_best(self) -> bool:
        """Whether the parameters to use are known: a fit without validation data knows them at its end."""
        return (self.folder / BEST).exists()

    def checkpoint(self) -> Checkpoint | None:
        """Where the fit stands, None before its first checkpoint."""
        return Checkpoint.read(self.file(LAST)) if (self.folder / LAST).exists() else None

    @property
    def finished(self) -> bool:
        """Whether the fit came to its end."""
        checkpoint = self.checkpoint()
        return checkpoint is not None and checkpoint.counters.finished


def unused(folder: Path) -> None:
    """RunError where a folder holds a run."""
    if (folder / CONFIG).exists():
        raise RunError(f"{folder} holds a run already; go on with it by --resume, or name another --out")


def own(run: Run, data: Iterable[str]) -> Config:
    """Of a run, before a fit goes on in its folder: the manifest knows what is there, by checks or on trust, and a module that
    was compiled anew is in its place."""
    if not run.trust and not run.fresh:
        settle(run.folder)
        return run.config
    folder, config = run.folder, run.config
    if run.fresh:
        config = config.model_copy(update={"name": class_of(run.compiled)})
        write_atomic(folder / MODULE, run.compiled)
        write_atomic(folder / CONFIG, config.to_text())
    listed = (SPEC, MODULE, CONFIG, *PARTS, *(f"{VOCAB}/{name}" for name in run.encoders.files))
    files = {name: (seal_of_file(folder / name),) for name in listed if (folder / name).exists()}
    write_manifest(folder, Manifest(files=files, data=data_of(data)))
    return config


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
