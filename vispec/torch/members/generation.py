"""generate, and sample and predict over it; forward."""

from __future__ import annotations

from vispec.lower.generate import Generated, given_in
from vispec.lower.next import element_by_element
from vispec.lower.outputs import Outputs
from vispec.model.model import Model, Variable
from vispec.model.walk import is_read
from vispec.program.axis import Axis
from vispec.torch.members.members import BATCH, ROOM, Members
from vispec.torch.members.predicted import predicted
from vispec.torch.text.names import local

PREDICT = 'def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:'


def generation(m: Members, o: Outputs) -> None:
    if o.generated is None:
        if any(v.role == "partial" for v in o.model.variables):
            predicting(m, o)
    elif not any(variable.type.whole_of is not None for variable in o.model.variables):  # whose elements are given
        drawing(m, o, o.generated)
    m.text(
        [
            f"def forward(self, {BATCH}) -> Tensor:",
            '    """log_prob of the batch."""',
            "    return self.log_prob(batch)",
        ]
    )


def drawing(m: Members, o: Outputs, g: Generated) -> None:
    """generate, and sample and predict over it."""
    before = [f"{', '.join([*map(local, o.shared.orders), '_'])} = self.shared()"] if o.shared and o.shared.orders else []
    doc = "Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."
    arguments = ("n: int", BATCH, "lengths: dict[str, Tensor]", "rule: str")
    told = {g.rows: "n"}
    if any(lengths_differ_within(axis) for axis in g.asked.values()):
        before.append("lengths = with_room(lengths)")
        m.need([ROOM])
    for plate, axis in g.asked.items():
        told[axis] = local(f"{plate}_size")
        before.append(f'{told[axis]} = max(int(lengths["{plate}"].max()), 1)')
    more = {"orders": g.orders, "before": before, "told": told, "graph": False}
    m.program("generate", element_by_element(g.program, o.model), doc, arguments, "dict", "dict[str, Tensor]", **more)
    m.text(sample(o, g))
    predicting(m, o)


def predicting(m: Members, o: Outputs) -> None:
    if o.predicted is not None:
        predicted(m, o, o.predicted)
    else:
        lines, kernels = predict(o)
        m.text(lines, *kernels)


def lengths_differ_within(axis: Axis) -> bool:
    """Whether a plate stands in others whose lengths differ, so that there may be no lengths of it."""
    return axis.lengths is not None and any(outer.lengths is not None for outer in axis.lengths.axes)


def sample(o: Outputs, g: Generated) -> list[str]:
    givens = [v.name for v in o.model.variables if v.role == "given"]
    need = f"`batch` holds {', '.join(givens)}" if givens else "nothing need be given"
    lines = [
        "@torch.no_grad()",
        "def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:",
        f'    """n rows of every variable, latents too, drawn in the order of the model; {need}.',
        "",
        "    lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).",
        '    """',
    ]
    if g.asked:
        names = ", ".join(f'"{name}"' for name in g.asked)
        lines += [
            f"    missing = [plate for plate in ({names},) if plate not in (lengths or {{}})]",
            "    if missing:",
            "        raise ValueError(f\"lengths must say how many elements each row has of {', '.join(missing)}\")",
        ]
    return [*lines, '    return self.generate(n, batch or {}, lengths or {}, "sample")']


def predict(o: Outputs) -> tuple[list[str], list[tuple[str, str]]]:
    """What is partial by its posterior; otherwise what is observed by its law, averaged over draws of any latents."""
    model = o.model
    if partial := [v.name for v in model.variables if v.role == "partial" and v.name in o.summed]:
        if all(model.variable[name].type.domain == "parse" for name in partial):
            return parsed(o, partial), [("vispec.kernels.trees.phrases", "told_parses")]
        return filled(model, partial), [("vispec.kernels.told.predict", "labelled")]
    observed = [v for v in model.variables if v.role in ("observed", "partial")]
    names = ", ".join(f'"{v.name}"' for v in observed)
    data = next(plate.name for plate in model.plates if plate.data)
    givens = [v for v in model.variables if v.role == "given" and data in v.plates]
    rows = f'len(batch["{givens[0].name}"])' if givens else "len(next(iter(batch.values())))"
    asked = [p for p in model.plates if p.ragged and not given_in(model, p.name)]
    lengths = ", ".join(f'"{p.name}": batch["{p.length_key}"]' for p in asked)
    if not any(net.random for net in model.nets) and all(v.role != "latent" for v in model.variables):
        return [
            "@torch.no_grad()",
            PREDICT,
            '    """Each observed variable, from what is given. rule: "mean", "mode" or "sample".',
            "",
            "    The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for",
            "    models with latents.",
            '    """',
            f'    rows, kinds = {rows}, dict.fromkeys(({names},), "draw")',
            f"    return predictive(lambda by: self.generate(rows, batch, {{{lengths}}}, by), kinds, rule, samples)",
        ], [("vispec.kernels.told.decide", "predictive")]
    kinds = ", ".join(f'"{v.name}": "{kind_of(model, v)}"' for v in observed)
    return [
        "@torch.no_grad()",
        PREDICT,
        '    """Each observed variable, from what is given, over so many draws of the latents.',
        "",
        '    rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest',
        "    value under them. What is read again is at its mode in one draw; a sample is one draw of all.",
        '    """',
        f"    rows, kinds = {rows}, {{{kinds}}}",
        f"    return predictive(lambda by: self.generate(rows, batch, {{{lengths}}}, by), kinds, rule, samples)",
    ], [("vispec.kernels.told.decide", "predictive")]


def parsed(o: Outputs, partial: list[str]) -> list[str]:
    """Where all that is partial is one parse or several."""
    names = ", ".join(f'"{name}"' for name in partial)
    one = len(o.summed) == 1
    draws = ", draws=True" if o.setting.draws.samples is not None else ""
    return [
        "@torch.no_grad()",
        PREDICT,
        '    """Each partial parse, from all that is seen. rule: "mode", the best as a whole, and "sample", a draw, as the',
        '    batch has parses; "mean", the probabilities of labels of elements. samples: for models without such variables.',
        '    """',
        f"    return told_parses(self, batch, rule, ({names},), {one}{draws})",
    ]


def filled(model: Model, partial: list[str]) -> list[str]:
    names = ", ".join(f'"{name}"' for name in partial)
    several = sum(model.variable[name].type.whole for name in partial)
    mode = "the likeliest of each" if not several else "the best as a whole" if several == len(partial) else "the best of each"
    whole = ", ".join(f'"{name}"' for name in partial if model.variable[name].type.whole)
    return [
        "@torch.no_grad()",
        PREDICT,
        '    """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;',
        f'    "mode", {mode}; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in',
        "    order. Cells that are seen are as they are seen. samples: for models without such variables.",
        '    """',
        f"    return labelled(self.posterior, batch, rule, ({names},){f', ({whole},)' if whole else ''})",
    ]


def kind_of(model: Model, variable: Variable) -> str:
    """How a prediction of the variable is averaged over draws; see vispec.kernels.told.decide.predictive."""
    domain = variable.type.domain
    if variable.type.whole or (is_read(model, variable.name) and variable.type.discrete):
        return "draw"
    return domain if domain in ("bit", "count") else "probabilities" if variable.type.discrete else "number"
