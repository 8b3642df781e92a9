"""From the text of an emitted module, or the file that holds it, to its class. There is no other interpreter of a model."""

import hashlib
import importlib.util
import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import torch
from torch import Tensor, nn

from vispec.seeds import reseed
from vispec.train.errors import RunError
from vispec.train.own import told


class Uncached(SourceFileLoader):
    """Compiles the text anew: what lies in a `__pycache__` beside a run's module is none of its files, and may be anything."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def load_module(path: Path) -> ModuleType:
    """Import the file under a name of its own, derived from its place and content, so that two runs never share one."""
    try:
        digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    name = f"vispec_run_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=Uncached(name, str(path.absolute())))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RunError(told(error) or f"{path} is damaged: {type(error).__name__}: {error}") from error
    return module


def class_of_text(text: str, name: str) -> type[nn.Module]:
    """The class `name` of an emitted text that is in no file yet."""
    module = ModuleType("vispec_emitted")
    place = f"<emitted module {hash(text):x}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)  # whoever asks where an error was
    exec(compile(text, place, "exec"), module.__dict__)
    return module.__dict__[name]


def load_class(path: Path, name: str) -> type[nn.Module]:
    """The model's class of the emitted file at `path`."""
    found = getattr(load_module(path), name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise RunError(f"{path} defines no module `{name}`")
    return found


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The batch on `device`."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


@contextmanager
def evaluating(module: nn.Module, seed: int, device: torch.device) -> Iterator[None]:
    """No gradients, no dropout, annealed weights at 1, and random draws that repeat and disturb no other stream."""
    was_training = module.training
    weight = getattr(module, "kl_weight", None)
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        reseed(seed)
        module.eval()
        if weight is not None:
            module.kl_weight = 1.0  # pyright: ignore[reportArgumentType]
        try:
            yield
        finally:
            module.train(was_training)
            if weight is not None:
                module.kl_weight = weight
