"""The settings of a fit: from the spec's `fit:` block and the command line to one validated value, with defaults for the rest.

The order of authority is: option of the command, `fit:` entry, default. Nothing here needs torch.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model import model as m
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.errors import OptionError

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Precision = Literal["float32", "float64", "bf16"]
Option = bool | int | float | str | list[Any] | None

STEPS = 2000  # a fit takes at least about so many steps unless told otherwise,
EPOCHS = 10  # and goes through the data at least so often;
MOST = 10  # where it rises still, it goes on, up to so many times that
BATCH = 128
NET_LR, PARAM_LR = 1e-3, 1e-2  # Adam's usual rate for nets; plain parameters bear more
GRADUAL = frozenset({"lr", "tokens", "accumulate", "clip", "warmup", "decay", "average", "patience"})  # of gradient steps alone
OWN_LR = {"lbfgs": 1.0, "adadelta": 1.0}  # of those whose steps have a length of their own


class Anneal(BaseModel):
    """A weight of the objective that moves in a straight line from `start` to `stop` over the first `over` epochs or steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    start: float
    stop: float
    over: Positive
    unit: Literal["epochs", "steps"]

    @property
    def attribute(self) -> str:
        """What the emitted module calls it."""
        return "kl_weight" if self.what == "kl" else self.what

    def value(self, step: int, steps_per_epoch: int) -> float:
        """The weight at optimiser step `step`, counted from 0."""
        length = self.over * (steps_per_epoch if self.unit == "epochs" else 1)
        return self.start + (self.stop - self.start) * min(1.0, step / length)


class Settings(BaseModel):
    """What decides the course of a fit. None in epochs, batch, lr, restarts, precision and threads: to be chosen; epochs
    still None for Adam: nothing is to be fitted.

    optimizer: by its name; "auto" for second-order steps where the objective allows them, and Adam elsewhere. batch: rows in a
    step; tokens: elements in one, with padding, in place of a number of rows. accumulate: parts in which a minibatch is gone
    through. clip: largest norm of the gradient of the loss per row. warmup: steps over which the rate rises from 0. decay:
    the shape in which it falls to `decay_to` times its value. average: of which parameters the mean counts, of the last
    `average_over` epochs or, by that weight, of all steps. patience: epochs without improvement before a fit stops. least:
    epochs after which it may once its objective is flat; None where that ends no fit. cycles: how often annealing runs, from
    its start each time. valid: the fraction of rows held out, or 0. save_every: seconds between checkpoints. native: whether
    kernels in C++ are used; "auto" until that is decided.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    optimizer: str = "auto"
    options: dict[str, Option] = {}
    lr: Positive | None = None
    epochs: Count | None = None
    batch: Count | None = None
    tokens: Count | None = None
    accumulate: Count = 1
    clip: Positive | None = None
    warmup: Annotated[int, Field(ge=0)] = 0
    decay: Literal["none", "linear", "cosine", "inverse_sqrt"] = "none"
    decay_to: Annotated[float, Field(ge=0, le=1)] = 0.0
    average: Literal["none", "last", "ema"] = "none"
    average_over: Positive | None = None
    patience: Count | None = None
    least: Count | None = None
    valid: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    restarts: Count | None = None
    threads: Count | None = None
    device: str = "cpu"
    save_every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    anneal: tuple[Anneal, ...] = ()
    cycles: Count = 1
    precision: Precision | None = None
    native: Literal["auto", "on", "off"] = "auto"

    def phase(self, step: int, steps: int) -> int:
        """Where annealing is at step `step` of `steps`: it starts again with each of the cycles."""
        return step % math.ceil(steps / self.cycles)

    @property
    def descends(self) -> bool:
        """Whether something is set that only steps along a gradient have."""
        return bool(self.model_fields_set & GRADUAL or self.precision == "bf16" or self.anneal)

    @property
    def numbers(self) -> Literal["float32", "float64"]:
        """The type of the module's numbers: `bf16` is for products within nets, while they learn."""
        return "float64" if self.precision == "float64" else "float32"

    def resolve(
        self,
        rows: int,
        has_nets: bool,
        threads: int,
        optimizer: str = "adam",
        restarts: int | None = 1,
        precision: Precision = "float32",
        goes_on: bool = False,
        length: float = 1.0,
    ) -> "Settings":
        """The same with every open choice made for data of `rows` rows of so many tokens each: the optimiser for "auto", the
        restarts and the precision as given here. Second-order steps take all rows at once, and as many rounds as they need.
        Where nobody has said how many epochs, and no schedule has to know, a fit that `goes_on` lasts until its objective is
        flat."""
        name = optimizer if self.optimizer == "auto" else self.optimizer
        told = self.batch or (None if self.tokens is None else max(1, int(self.tokens / max(length, 1))))
        batch = min(told or BATCH, max(rows, 1)) if told or rows > 4 * BATCH else max(rows, 1)
        if name == "newton":
            batch = max(rows, 1)
        steps = math.ceil(rows / batch) if rows else 1
        least = max(EPOCHS, math.ceil(STEPS / steps))
        goes_on = goes_on and name != "newton" and self.epochs is None and self.decay == "none" and not self.anneal
        epochs = self.epochs or (None if name == "newton" else MOST * least if goes_on else least)
        return self.model_copy(
            update={
                "optimizer": name,
                "batch": batch,
                "epochs": epochs,
                "least": least if goes_on else self.least,
                "lr": self.lr or OWN_LR.get(name, NET_LR if has_nets else PARAM_LR),
                "threads": self.threads or threads,
                "restarts": self.restarts or restarts,
                "precision": self.precision or precision,
            }
        )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate's factor at step `step` of `steps`, both counted over one whole restart."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == "none":
            return rise
        done = min(1.0, max(0, step - self.warmup) / max(1, steps - self.warmup))
        shapes = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
        shape = shapes.get(self.decay, math.sqrt(max(self.warmup, 1) / max(self.warmup, step + 1)))
        return rise * (self.decay_to + (1 - self.decay_to) * shape)


PARTS = frozenset({"options", "decay_to", "average_over", "tokens"})  # of what one entry says
OWN = frozenset({"least", "device", "threads", "save_every", "native"})  # no entries
KEYS = tuple(name for name in Settings.model_fields if name not in PARTS | OWN)
"""What `--set` may be called, and a `fit:` entry about training."""


def read_settings(model: m.Model, overrides: Mapping[str, Any]) -> Settings:
    """The model's `fit:` block under the command's overrides; raises SpecError for the block, OptionError for an override."""
    values: dict[str, Any] = {"anneal": ()}
    owners: dict[str, m.FitEntry] = {}
    for entry in model.fit:
        if isinstance(entry, m.Schedule):
            schedule = Anneal(what=entry.what, start=entry.start, stop=entry.stop, over=entry.over, unit=entry.unit)
            values["anneal"] += (schedule,)
        elif entry.key in KEYS:
            found = _values(entry)
            values |= found
            owners |= dict.fromkeys(found, entry)
    if overrides.keys() & {"batch", "tokens"}:
        values = {key: value for key, value in values.items() if key not in ("batch", "tokens")}
    if "optimizer" in overrides:  # with an optimiser go its options; a rate that the spec has for another is not meant either
        values = {key: value for key, value in values.items() if key not in ("options", "lr")}
    try:
        return Settings.model_validate(values | dict(overrides))
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0])
        message = problem["msg"].lower().replace("input should be", "must be")
        if key in overrides:
            raise OptionError(f"{key}={overrides[key]}: {message}") from error
        label = Label(owners[key].span, "this value")
        raise SpecError(model.source, [Diagnostic("V613", f"`{key}` {message}", label)]) from error


def parse_value(text: str) -> bool | int | float | str:
    """The value of `--set KEY=text`: a number or truth value where it looks like one, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_setting(key: str, text: str) -> dict[str, Any]:
    """What `--set KEY=text` stands for: a value, or a call as a spec's `fit:` has it, `optimizer=lbfgs(lr=1)`.

    Raises OptionError where the entry of a spec could not be so."""
    if (key != "average" and not {"(", " "} & set(text.strip())) or "\n" in text:
        return {key: parse_value(text)}
    entry = f"plate n:\n    observed x : real ~ Normal(0, 1)\nfit:\n    {key} : {text}\n"
    try:
        (found,) = check_model(parse(Source("--set", entry))).fit
    except SpecError as error:
        problem = error.diagnostics[0]
        raise OptionError(f"--set {key}={text}: {problem.message}{f'; {problem.help}' if problem.help else ''}") from None
    assert isinstance(found, m.FitEntry)
    return _values(found)


def _values(entry: m.FitEntry) -> dict[str, Any]:
    """The settings that one entry stands for."""
    call = dict(entry.call)
    if entry.key == "optimizer":
        lr = {"lr": call.pop("lr")} if "lr" in call else {}
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in call.items()}
        return {"optimizer": entry.value, "options": options, **lr}
    if entry.key == "decay" and "to" in call:
        return {"decay": entry.value, "decay_to": call["to"]}
    if entry.key == "average":
        return {"average": entry.value, "average_over": call.get("epochs", call.get("decay"))}
    if entry.key == "batch" and call:
        return {"tokens": entry.value}
    return {entry.key: entry.value}
