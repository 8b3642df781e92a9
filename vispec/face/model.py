"""A spec in Python: checked, drawn, compiled, fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from vispec.compile import compile_spec
from vispec.explain.explain import explain
from vispec.explain.explain import only as some_of
from vispec.explain.show import show_explanation
from vispec.face.run import Columns, Run, readings
from vispec.face.tables import Data, arguments
from vispec.face.words import Text
from vispec.graph.build import build_graph
from vispec.graph.drawing.draw import TEXTS, draw
from vispec.graph.layout.figure import make_figure
from vispec.lower.asked.derived import rows as derived_rows
from vispec.model.check import check_model
from vispec.model.model import Model as Checked
from vispec.plan.budget import budget
from vispec.plan.planner import plan_model
from vispec.plan.show import show_plan
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.errors import OptionError
from vispec.train.fitted import fit
from vispec.train.loop.progress import Quiet, reporter
from vispec.train.setup.distributed import joined
from vispec.train.setup.given import Values
from vispec.train.setup.prepare import Request
from vispec.train.setup.settings import KEYS, parse_setting
from vispec.train.setup.still import still
from vispec.verify.verify import Report, verify


def load(spec: str | PathLike[str], sizes: Mapping[str, int] | None = None, name: str = "model") -> "Model":
    """The model of a spec: of the file at a path, or of a text of more than one line, which is then called `name`.

    sizes: values of its sizes, over those that it has itself. Raises SpecError with all that is wrong, OSError."""
    text = isinstance(spec, str) and "\n" in spec
    return Model(Source(name, str(spec)) if text else Source.read(Path(spec)), sizes)


class Model:
    """A checked spec. In a notebook it is its diagram."""

    def __init__(self, source: Source, sizes: Mapping[str, int] | None = None):
        self.source, self.sizes = source, dict(sizes or {})
        self.checked: Checked = check_model(parse(source), self.sizes)

    def __repr__(self) -> str:
        return f"Model({self.source.name})"

    def _repr_svg_(self) -> str:
        text = TEXTS["svg"](make_figure(build_graph(self.checked)))
        return text[text.index("<svg") :]

    # ---- what the spec says

    def check(self, memory: int | None = None, work: int | None = None) -> Text:
        """The plan: what is summed exactly, what is sampled, and what each costs, as `vispec check` prints it."""
        limits = budget(work, memory, self.sizes)
        plan = plan_model(self.checked, limits)
        return Text(show_plan(replace(plan, rows=(*plan.rows, *derived_rows(plan, limits)))))

    def explain(self, latex: bool = False, only: Sequence[str] = ()) -> Text:
        """The derivation of the objective. only: sections, such as "marginal" and "gradient"."""
        limits = budget(None, None, self.sizes)
        plan = plan_model(self.checked, limits)
        found = explain(self.checked, plan, latex, derived_rows(plan, limits))
        return Text(show_explanation(some_of(found, only) if only else found, titled=not only))

    def compile(self, only: Sequence[str] = (), memory: int | None = None, work: int | None = None) -> Text:
        """The emitted module, a file that imports torch alone. only: members, with what they need."""
        return Text(compile_spec(self.source, self.sizes, memory, work, only))

    def render(self, path: str | PathLike[str], *, factors: bool = False, guide: bool = False, laws: bool = False) -> None:
        """Draw it, in the format that the name asks for: svg, png, pdf, dot, tex or tikz."""
        draw(build_graph(self.checked), Path(path), factors=factors, guide=guide, laws=laws)

    def verify(self, seed: int = 0, rows: int = 5) -> Report:
        """The emitted module against enumeration in float64, at tiny sizes."""
        return verify(self.source, self.sizes, seed, rows)

    # ---- with data

    def fit(
        self,
        data: Data,
        *,
        valid: Data | float = None,
        out: str | PathLike[str] | None = None,
        resume: bool = False,
        start: "Run | str | PathLike[str] | None" = None,
        params: Mapping[str, Any] | None = None,
        columns: Columns | None = None,
        index: Mapping[str, str] | None = None,
        absent: Sequence[str] = (),
        drop_missing: bool = False,
        cache: str = "auto",
        memory: int | None = None,
        work: int | None = None,
        verify: bool = True,
        trust: bool = False,
        quiet: bool = False,
        **settings: Any,
    ) -> Run:
        """Fit it, and leave a run folder, as `vispec fit` does; the options are those of the command.

        data, valid: see `vispec.face.tables`; valid also the part of the rows to hold out. out: the folder, else a new one
        under `runs/`. start: another run, params: values by name, to start at. settings: `epochs=20`,
        `optimizer="adam(lr=0.01)"`, and whatever else a `fit:` block may have. Where torch.distributed has a process group, its
        processes, which all call this, share the fit and have its result. Raises SpecError, DataError, RunError,
        OptionError, DivergenceError."""
        if isinstance(valid, float):
            settings, valid = settings | {"valid": valid}, None
        folder = start.folder if isinstance(start, Run) else start
        with joined(started=False) as group, arguments(data, valid) as (train, held_out):
            request = Request(
                self.source,
                train,
                held_out,
                readings(columns, index, absent, drop_missing, cache),
                self.sizes,
                _settings(settings),
                None if out is None else Path(out),
                memory=memory,
                work=work,
                start=None if folder is None else Path(folder),
                params=_values(params),
                trust=trust,
            )
            with request.claim:
                run, _ = fit(request, resume, group, verify, Quiet() if quiet else reporter(group.main))
            group.pick(None)  # the first process has written the report
        return Run(run, data)

    def at(
        self,
        data: Data,
        params: Mapping[str, Any] | None = None,
        *,
        columns: Columns | None = None,
        index: Mapping[str, str] | None = None,
        absent: Sequence[str] = (),
        drop_missing: bool = False,
    ) -> Run:
        """The model at given values of its parameters, in the spaces of their types; of a model without parameters, as it is.
        The data tell sizes and labels. The folder goes with the process."""
        with arguments(data) as (words,):
            reading = readings(columns, index, absent, drop_missing)
            request = Request(self.source, words, reading=reading, sizes=self.sizes, params=_values(params))
            return Run(still(request, Quiet()), data)


def _values(params: Mapping[str, Any] | None) -> Values | None:
    """Values by name, of numbers, lists or arrays."""
    if params is None:
        return None
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in params.items()}
    return Values("(values)", "params", plain)


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the call as `--set` has them."""
    known = [key for key in KEYS if key != "anneal"] + ["device", "threads", "save_every", "native"]
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in known:
            raise OptionError(f"there is no setting `{key}`; there are {', '.join(known)}")
        found |= parse_setting(key, value) if isinstance(value, str) else {key: value}
    return found
