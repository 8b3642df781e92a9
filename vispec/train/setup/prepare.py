"""From what the user asked for to a run folder and a job for the training loop: a new one, or the rest of an old one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vispec.compile import class_of, compile_spec
from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model.model import FitEntry, Model, calls_in
from vispec.model.problems import listed
from vispec.model.walk import is_read, law_parts, walk
from vispec.named import stored
from vispec.plan.guides import complete_guides
from vispec.source import Source
from vispec.train.data import Dataset, Encoders, load, render
from vispec.train.errors import OptionError, RunError
from vispec.train.loop.progress import Reporter
from vispec.train.reading import Reading
from vispec.train.scores.final import latents_of
from vispec.train.setup.choose import noiseless, restarts, second_order, threads
from vispec.train.setup.distributed import Group, choose_device
from vispec.train.setup.given import Values, by_chance, fix, stored_params, written
from vispec.train.setup.job import Job
from vispec.train.setup.native import decided
from vispec.train.setup.optimisers import make_optimiser, trained
from vispec.train.setup.same import data_files, same, same_data
from vispec.train.setup.settings import GRADUAL, Settings, read_settings
from vispec.train.setup.start import Start, read_start
from vispec.train.setup.vectors import read_vectors
from vispec.train.sizes import check
from vispec.train.store.checkpoint import Checkpoint, Tensors
from vispec.train.store.lock import Claim
from vispec.train.store.manifest import data_of, put
from vispec.train.store.module import class_of_text
from vispec.train.store.run import CONFIG, Config, Run, new_folder, own, unused

UNDIVIDED = (
    "a spec without a data plate describes one data set, of which no part can be held out: give another one, as --valid FILE, "
    "or open a plate around the model: `plate n:`"
)
NOT_SMOOTH = "`newton` is for objectives that are exact and smooth: no draws, no nets with hidden layers"
PART = 1 << 20  # lengths that are counted at once
FOLDER = "folder"  # of a run, as an attempt of torchrun tells it to the next one
FREE = frozenset({"epochs", "save_every"})  # what a resumed fit may be given anew


@dataclass(frozen=True)
class Request:
    """What `vispec fit` was asked. settings: those given on the command line. out: None for a new folder under `root`.
    memory: bytes that a sum over joint values may take at once. work: terms that the sums for a row may have. None of either:
    the default. start: a run to go out from. params: values to start at. trust: run folders and data are taken as
    they are. check_data: the content of data is compared even where size and time are as before. claim: keeps others out of the
    folder. still: no steps are made, and each parameter must have a value."""

    source: Source
    data: tuple[str, ...]
    valid: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    sizes: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    root: Path = Path("runs")
    memory: int | None = None
    work: int | None = None
    start: Path | None = None
    params: Values | None = None
    trust: bool = False
    check_data: bool = False
    still: bool = False
    claim: Claim = field(default_factory=Claim)


def prepare(request: Request, group: Group, reporter: Reporter) -> tuple[Run, Job]:
    """A new run. Raises SpecError, DataError, RunError, or OptionError for an option of the command."""
    model = check(request.source, request.sizes)
    settings = read_settings(model, request.settings)
    start = None if request.start is None else read_start(request.start, model, request.trust)
    train, valid = read_data(
        model, request.data, request.valid, request.reading, request.sizes, settings, start and start.encoders, more=True
    )
    for warning in train.warnings:
        reporter.say(render([warning]))
    for told in (train.dropped, valid.dropped if valid is not None else ""):
        if told:
            reporter.say(told)
    device = choose_device(settings.device, group)
    text = compile_spec(request.source, train.sizes, request.memory, request.work)
    module = fix(class_of_text(text, class_of(text))(), model)
    taken = _starts(request, model, module, start, train, settings.seed, reporter)
    told = all(name in taken for name, p in module.named_parameters() if p.requires_grad)
    free = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    if request.still and not told:
        names = listed(dict.fromkeys(name.removeprefix("raw_").partition(".")[0] for name in free if name not in taken))
        raise RunError(f"{request.source.name} leaves {names} to fit: `vispec fit` does, or --params FILE says their values")
    settings = resolve(model, module, settings, train, valid, device, start is not None or told)
    if request.still or not moves(module, model):
        none = {"optimizer": "adam", "epochs": None, "least": None, "patience": None, "restarts": 1}
        settings = settings.model_copy(update=none)
    native = group.pick(decided(type(module), settings.native, device.type, reporter.say) if group.main else None)
    settings = settings.model_copy(update={"native": native})
    train, valid = in_precision(settings, train, valid)
    _rehearse(module, model, settings, request.settings, train.num_rows)
    run = _new_run(request, model, settings, train, text, group, taken)
    return run, _job(run, model, settings, (train, valid), device, group, reporter, taken)


def _job(
    run: Run,
    model: Model,
    settings: Settings,
    data: tuple[Dataset, Dataset | None],
    device: torch.device,
    group: Group,
    reporter: Reporter,
    start: Tensors | None,
) -> Job:
    train, valid = data
    return Job(
        run.folder,
        run.build,
        settings,
        train,
        valid,
        device,
        group,
        reporter,
        variable_names(model),
        start or None,
        latents_of(model),
        model,
        run.config.start is not None,
    )


def _starts(
    request: Request, model: Model, module: nn.Module, start: Start | None, train: Dataset, seed: int, reporter: Reporter
) -> Tensors:
    """Where the parameters start of which spec or user say it: those of `--params` before those of `--from`, and both before
    what the spec writes."""
    found = written(model, train.sizes, module)
    if start is not None:
        taken = start.matching(module)
        reporter.say(start.describe(module, taken))
        found |= taken
    vectors, told = read_vectors(model, module, train.encoders, found, seed)
    found |= vectors
    for line in told:
        reporter.say(line)
    if request.params is not None:
        found |= stored_params(request.params, model, module)
    for name in by_chance(model, module, found):
        table = next((table for table in model.embeddings if table.name == name), None)
        way = f"write `param {name} : ... = ...`, or use --params or --from"
        way = way if table is None else f'write `embedding {name}({table.rows}, {table.width}, from="...")`, or use --from'
        reporter.say(f"`{name}` is fixed where it happens to start: {way}")
    return found


def resolve(
    model: Model,
    module: nn.Module,
    settings: Settings,
    train: Dataset,
    valid: Dataset | None,
    device: torch.device,
    started: bool,
) -> Settings:
    """The settings with every open choice made. Second-order steps take float64, and so does whatever has no nets on a CPU:
    there single precision saves little, and log-probabilities of large counts need the digits. What cannot learn the rows by
    heart goes on until it has converged: models whose laws call no net, and fits that validation data watch. started: whether
    the start of all parameters is told, or is that of another run, whose maximum is the one that is meant."""
    newton = second_order(model, module, settings, train)
    double = newton or (device.type == "cpu" and not model.nets)
    found = settings.resolve(
        train.num_rows,
        bool(model.nets),
        torch.get_num_threads(),
        "newton" if newton else "adam",
        restarts(model) if newton and not started else 1,
        "float64" if double else "float32",
        valid is not None or not any(calls_in((model.variables, model.lets))),
        train.tokens() / max(1, train.num_rows),
    )
    return found.model_copy(update={"threads": settings.threads or threads(module, found, train, torch.get_num_threads())})


def in_precision(settings: Settings, train: Dataset, valid: Dataset | None) -> tuple[Dataset, Dataset | None]:
    """The data with numbers as the module has them."""
    return train.in_precision(settings.numbers), None if valid is None else valid.in_precision(settings.numbers)


def prepare_resume(run: Run, request: Request, group: Group, reporter: Reporter) -> tuple[Run, Job, Checkpoint | None]:
    """The rest of a run; RunError where the request asks for another fit than the one begun."""
    config = run.config
    same(request.source.text == run.source.text, "the spec has changed since the fit began")
    same(request.memory is None, "it keeps the --memory that it began with")
    same(request.work is None, "it keeps the --work that it began with")
    same(all(config.sizes.get(name) == size for name, size in request.sizes.items()), "it has other sizes")
    valid_arguments = request.valid or tuple(config.valid)
    same(list(valid_arguments) == config.valid and list(request.data) == config.data, "it was fitted to other data")
    same(request.start is None or str(request.start) == config.start, "it did not start --from that run")
    same(request.params is None or request.params.name == config.params, "it did not start at those --params")
    data = data_files(run.model, request.data, valid_arguments)
    same_data(run, data, request.check_data, group)
    train, valid = read_data(
        run.model,
        request.data,
        valid_arguments,
        replace(config.reading, cache=request.reading.cache),
        config.sizes,
        config.settings,
        run.encoders,
    )
    same((train.num_rows, train.tokens()) == (config.rows, config.tokens), "the data have changed since the fit began")
    run = replace(run, config=group.pick(own(run, data) if group.main else None))
    checkpoint = run.checkpoint()
    run = _extend(run, request, checkpoint, group)
    settings = run.config.settings
    device, data = choose_device(settings.device, group), in_precision(settings, train, valid)
    return run, _job(run, run.model, settings, data, device, group, reporter, run.start), checkpoint


def read_data(
    model: Model,
    data: tuple[str, ...],
    valid: tuple[str, ...],
    reading: Reading,
    sizes: Mapping[str, int],
    settings: Settings,
    encoders: Encoders | None = None,
    more: bool = False,
) -> tuple[Dataset, Dataset | None]:
    """Training data, and validation data from files of their own or split off; with those encoders, or with `more` at least."""
    if settings.valid and model.single is not None and not valid:
        raise OptionError(UNDIVIDED)
    train = load(model, data, encoders=encoders, sizes=sizes, more=more, **reading.options)
    if valid:
        resolved = Reading(train.asked, reading.index, reading.absent, reading.drop, cache=reading.cache)
        return train, load(model, valid, encoders=train.encoders, sizes=train.sizes, **resolved.options)
    if not settings.valid:
        return train, None
    if train.num_rows < 2:
        raise RunError("one row of data cannot be split into training and validation data")
    return train.split(settings.valid, settings.seed)


def _new_run(
    request: Request, model: Model, settings: Settings, train: Dataset, text: str, group: Group, start: Tensors | None
) -> Run:
    """Write the folder on the first process; the others read it."""
    folder, problem = request.out, None
    if group.main:
        folder = folder or new_folder(request.root, request.source.name)
        try:
            request.claim.take(folder)
            unused(folder)
            group.remember(FOLDER, str(folder))
        except RunError as error:
            problem = str(error)
    problem = group.pick(problem)
    if problem is not None:
        raise RunError(problem)
    if group.main:
        assert folder is not None
        data = data_of(data_files(model, request.data, request.valid))
        config = Config(
            spec=request.source.name,
            name=class_of(text),
            sizes=dict(train.sizes),
            settings=settings,
            data=list(request.data),
            valid=list(request.valid),
            columns={name: list(names) for name, names in train.asked.items()},
            index=dict(request.reading.index),
            absent=list(request.reading.absent),
            drop=request.reading.drop,
            rows=train.num_rows,
            tokens=train.tokens(),
            start=None if request.start is None else str(request.start),
            params=None if request.params is None else request.params.name,
            lengths={plate: _histogram(lengths) for plate, lengths in train.lengths.items()},
            gathered={name: list(names) for name, names in train.columns.items()},
        )
        Run.create(folder, request.source, text, train.encoders, config, start or None, data)
    return Run.open(Path(str(group.pick(folder))))


def variable_names(model: Model) -> tuple[str, ...]:
    """Of variables and deterministic nodes."""
    return tuple(item.name for item in (*model.variables, *model.lets))


def _histogram(lengths: np.ndarray[Any, Any]) -> dict[int, int]:
    counts = np.zeros(int(lengths.max(initial=0)) + 1, np.int64)
    for part in np.array_split(lengths, 1 + len(lengths) // PART):
        counts += np.bincount(part, minlength=len(counts))
    values = np.flatnonzero(counts)
    return dict(zip(values.tolist(), counts[values].tolist(), strict=True))


def moves(module: nn.Module, model: Model) -> bool:
    """Whether anything that can be fitted has a part in the likelihood."""
    guided = {getattr(e, "name", "") for guide in model.guide for part in law_parts(guide.law) for e in walk(part)}
    guided |= {getattr(e, "name", "") for let in model.guide_lets for e in walk(let.value)}
    unread = {stored(module, model, p) for p in model.params if p.name not in guided and not is_read(model, p.name)}
    return any(parameter.requires_grad and name not in unread for name, parameter in module.named_parameters())


def _rehearse(module: nn.Module, model: Model, settings: Settings, given: Mapping[str, Any], rows: int) -> None:
    """Make the optimiser once before anything is written, so that options which torch refuses are told in the user's terms."""
    if not settings.epochs and settings.optimizer != "newton":
        return
    assert settings.lr is not None
    if settings.optimizer == "newton":
        if not noiseless(model):
            _blame(model, "optimizer", NOT_SMOOTH, given)
        asked = {e.key: e.value for e in model.fit if isinstance(e, FitEntry)} if "optimizer" not in given else {}
        named = GRADUAL | {"batch"}
        for key in sorted(named & (set(asked) | set(given))):
            if key != "batch" or settings.tokens is not None or int(given.get(key, asked.get(key))) < rows:
                _blame(
                    model, key, f"second-order steps take all rows at once and choose their length: they have no `{key}`", given
                )
        return
    try:
        make_optimiser(settings.optimizer, settings.lr, dict(settings.options), trained(module))
    except ValueError as error:
        _blame(model, "optimizer", str(error), given)
    if settings.precision == "bf16" and not complete_guides(model).nets:
        _blame(model, "precision", "`bf16` is for the products within nets, and this model has none", given)
    for anneal in settings.anneal:
        if not hasattr(module, anneal.attribute):
            _blame(model, "anneal", f"the objective of this model has no term `{anneal.what}` to weigh", given)


def _blame(model: Model, key: str, message: str, given: Mapping[str, Any]) -> None:
    """Point at the `fit:` entry, or raise OptionError where there is none or the command line set it."""
    entry = next((entry for entry in model.fit if entry.key == key), None)
    if entry is None or key in given:
        raise OptionError(message)
    raise SpecError(model.source, [Diagnostic("V613", message, Label(entry.span, "set here"))])


def same_setting(old: Settings, key: str, value: Any, rows: int) -> bool:
    """Whether a fit of so many rows would be given this setting as it was resolved."""
    if key == "batch" and old.tokens is None:
        value = min(value, max(rows, 1))
    return getattr(old, key) == value or (key == "optimizer" and value == "auto")


def _extend(run: Run, request: Request, checkpoint: Checkpoint | None, group: Group) -> Run:
    """The run with those settings of the request that a fit may be resumed with; all others must be as they were."""
    old = run.config.settings
    changed = {key: value for key, value in request.settings.items() if not same_setting(old, key, value, run.config.rows)}
    fixed = sorted(set(changed) - FREE)
    if fixed:
        raise RunError(f"a resumed fit keeps its settings: {fixed[0]} is {getattr(old, fixed[0])}, not {changed[fixed[0]]}")
    if "epochs" in changed and ((old.restarts or 1) > 1 or old.decay != "none") and old.optimizer != "newton":
        raise RunError("only a fit without restarts and without decay can be given another number of epochs")
    if not changed:
        return run
    settings = Settings.model_validate(old.model_dump() | changed | ({"least": None} if "epochs" in changed else {}))
    if checkpoint is not None and (settings.epochs or 0) > checkpoint.counters.epoch:
        checkpoint.counters.finished, checkpoint.counters.cooling = False, None
    config = run.config.model_copy(update={"settings": settings})
    if group.main:
        put(run.folder, {CONFIG: config.to_text()})
    return replace(run, config=config)
