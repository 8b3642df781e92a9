"""The posterior: of what is summed, of guides, and of derived quantities."""

from __future__ import annotations

from collections.abc import Mapping

from vispec.factors.frame import element_plates
from vispec.lower.outputs import Outputs
from vispec.model.types import WHAT
from vispec.plan.order.steps import Expected, Structured
from vispec.structures import structures
from vispec.structures.entry import StructureKind
from vispec.torch.members.derived import asked, derived, signature
from vispec.torch.members.derived import described as derived_words
from vispec.torch.members.members import BATCH, ROOM, Members
from vispec.torch.members.sampled import is_integrated
from vispec.torch.text.code import Code, listed
from vispec.torch.text.names import local

TILTED = "log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."
PAIRS = "log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."
MOMENTS = "log p of each row with `tilt` times what is integrated added: its gradient is its posterior mean and second moment."
QUERIES = "vispec.kernels.told.queries"


def posterior(m: Members, o: Outputs) -> None:
    """tilted, what queries start from, and posterior."""
    derived(m, o)
    if not o.queries:
        return posterior_of_guides(m, o)
    batch, tilt = BATCH, "tilt: dict[str, Tensor]"
    before = [f"{', '.join([*map(local, o.shared.orders), '_'])} = self.shared()"] if o.shared and o.shared.orders else []
    m.program("tilted", o.queries["tilted"], TILTED, (batch, "total", tilt), before=before)
    if o.along:
        m.program("tilted_pairs", o.queries["tilted_pairs"], PAIRS, (batch, tilt), before=before)
        m.program(
            "neighbours",
            o.queries["neighbours"],
            "A tilt of nothing for the neighbours of each chain.",
            returns="dict",
            result="dict[str, Tensor]",
        )
    orders = {f"inside {name}": plates for name, plates in o.summed.items()}
    doc = "A tilt of nothing for each latent, and which of its elements count where rows differ in length."
    m.program(
        "unknowns",
        o.queries["unknowns"],
        doc,
        returns=two_dicts,
        orders=orders,
        result="tuple[dict[str, Tensor], dict[str, Tensor]]",
    )
    exact = o.setting.combine == "exact"
    other = ", other: nn.Module | None = None" if exact else ""
    lines = [
        "@torch.no_grad()",
        f'def posterior(self, {batch}, query: str = "marginals"{other}{signature(o)}) -> dict:',
        *(f"    {line}" for line in described(o, exact)),
    ]
    steps = o.asked.steps if o.asked else ()
    chains = any(isinstance(step, Structured) and structures()[step.kind].ranks for step in steps)
    chains = chains and not any(isinstance(step, Expected) for step in steps)  # of which a row's value is no sum of terms
    ask = "ask_of_chains" if chains else "ask"
    kernels = [("vispec.kernels.told.ranked" if chains else QUERIES, ask)]
    if any(plate.ragged for plate in o.model.plates):
        lines.append("    batch = with_room(batch)")
        kernels.append(ROOM)
    lines += [f"    {line}" for line in asked(m, o)]
    of_parts, several = told_by_parts(o), o.setting.draws.samples is not None
    if of_parts:
        (name, kind), alone = next(iter(of_parts.items())), len(o.summed) == 1 and not several and o.guided is None
        alone = alone and len(element_plates(o.model.variable[name])) == 2
        lines.append('    if query.startswith("kbest("):')
        if kind.best is not None and alone:
            (file, function), more = kind.best[0].split(":"), kind.best[1]
            ranked = f'{function}(self.tilted, batch, *self.unknowns(batch), "{name}", int(query[6:-1]), {more})'
            lines.append(f"        return {ranked}")
            kernels.append((file, function))
        else:
            lines.append(f'        raise ValueError("{not_ranked(o)}")')
    for name, kind in of_parts.items() if len(of_parts) == 1 else ():
        for query, (kernel, _) in kind.told.items():
            file, function = kernel.split(":")
            told = f'{function}(self.tilted, batch, *self.unknowns(batch), "{name}"{", draws=True" if several else ""})'
            lines += [f'    if query == "{query}":', f'        return {{"{name}": {told}}}']
            kernels.append((file, function))
    if o.along:
        along = ", ".join(f'"{name}": {place}' for name, place in o.along.items())
        lines += [
            '    if query == "pairs":',
            f"        return pairs(self.tilted_pairs, batch, self.neighbours(batch), {{{along}}})",
        ]
        kernels.append((QUERIES, "pairs"))
    rest = f"{', False' if several else ''}{', other=other' if exact else ''}"
    if o.moments is not None:
        m.program("with_moments", o.moments.program, MOMENTS, (batch, tilt), before=before)
        doc = "Tilts of nothing for the means and second moments of what is integrated."
        m.program("no_moments", o.moments.zeros, doc, returns="dict", result="dict[str, Tensor]", orders=o.moments.orders)
        lines += [
            f"    found = {ask}(self, batch, query, *self.unknowns(batch){rest})",
            '    if query != "marginals":',
            "        return found",
            "    return found | moments_over_sums(self.with_moments, batch, self.no_moments(batch))",
        ]
        kernels.append(("vispec.kernels.told.moments", "moments_over_sums"))
    elif o.guided is None:
        lines.append(f"    return {ask}(self, batch, query, *self.unknowns(batch){rest})")
    else:
        lines.append("    zeros, inside = self.unknowns(batch)")
        lines.append(f"    found = {ask}(self, batch, query, zeros, inside{rest})")
        if o.guided.modes:
            again = f'{ask}(self, batch, "mode", zeros, inside{rest})'
            lines.append(f'    mode = found if query in ("mode", "sample") else {again}')
        lines.append(f"    return found | self.guides(batch{', mode' if o.guided.modes else ''})")
    m.text(lines, *kernels)


BY_GUIDES = "The parameters of the latents' guides, which are all that the posterior is told by."
WHOLLY = "The mean and the standard deviation (mean, sd) of each latent number, exact."


def posterior_of_guides(m: Members, o: Outputs) -> None:
    """posterior, where nothing is summed: the guides and what is derived alone."""
    if o.guided is None:
        return posterior_of_derived(m, o)
    names = dict.fromkeys(name.partition(" ")[0] for name in o.guided.program.outputs)
    told = [f"{v.name}: {v.type}, ({', '.join(element_plates(v))})." for v in map(o.model.variable.__getitem__, names)]
    exact = all(is_integrated(o, name) for name in names)
    how = "integrated and told by their moments" if exact else "drawn and told by guides"
    m.text(
        [
            "@torch.no_grad()",
            *head(f'{BATCH}, query: str = "marginals"{signature(o)}'),
            f'    """{WHOLLY if exact else BY_GUIDES}',
            "",
            *(f"    {line}" for line in [*told, *derived_words(o)]),
            '    """',
            *(f"    {line}" for line in asked(m, o)),
            '    if query != "marginals":',
            '        raise ValueError(f"this model answers no query {query!r}: its latents are ' + f'{how}")',
            "    return self.guides(batch)",
        ]
    )


def posterior_of_derived(m: Members, o: Outputs) -> None:
    """posterior, where no latent is told of."""
    if not o.derived:
        return
    lines = ["@torch.no_grad()", *head(f'{BATCH}, query: str = "marginals"{signature(o)}')]
    lines += [f"    {line}" for line in ['"""Of derived quantities.', "", *derived_words(o), '"""', *asked(m, o)]]
    m.text([*lines, '    raise ValueError("this model tells of no latent: say of what")'])


def head(arguments: str) -> list[str]:
    """The first line of posterior, or three where that is too long."""
    line = f"def posterior(self, {arguments}) -> dict:"
    return [line] if len(line) < 125 else ["def posterior(", f"    self, {arguments}", ") -> dict:"]


def described(o: Outputs, exact: bool) -> list[str]:
    """The docstring of posterior."""
    guided = () if o.guided is None else dict.fromkeys(name.partition(" ")[0] for name in o.guided.program.outputs)
    variables = [o.model.variable[name] for name in (*o.summed, *guided)]
    return [
        '"""Exact posteriors of the summed latents, and the guides of the drawn ones.',
        "",
        'query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;',
        '"sample", a draw; "entropy", in nats, of each value and of all together'
        + ('; "kl", the divergence from that of `other`.' if exact else "."),
        *(['"pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.'] if o.along else []),
        *(f'"{query}": {words}' for kind in told_by_parts(o).values() for query, (_, words) in kind.told.items()),
        *(f"{v.name}: {v.type}, ({', '.join(element_plates(v))})." for v in variables),
        *derived_words(o),
        '"""',
    ]


def told_by_parts(o: Outputs) -> dict[str, StructureKind]:
    """The latents that are summed over and have parts beside their elements, such as the phrases of a parse."""
    kinds = {kind.domain: kind for kind in structures().values() if kind.domain and not kind.whole}
    summed = (v for v in o.model.variables if v.name in o.summed)
    return {v.name: kinds[v.type.support] for v in summed if v.type.support in kinds}


def not_ranked(o: Outputs) -> str:
    """Why the k best are not told, and what is."""
    name, kind = next(iter(told_by_parts(o).items()))
    labels = f"{WHAT[o.model.variable[name].type.domain]}s"
    queries = ", ".join(("marginals", "mode", *kind.told, "sample", "entropy", "kl"))
    return f"the k best {kind.summed} are not told by their {labels}; queries are {queries}"


def two_dicts(codes: Mapping[str, Code]) -> Code:
    """Outputs "zeros x" and "inside x" as two dicts."""
    found = []
    for kind in ("zeros ", "inside "):
        items = [(name.removeprefix(kind), code) for name, code in codes.items() if name.startswith(kind)]
        found.append(listed([Code((f'"{name}": ', *code.pieces), 0) for name, code in items], "{}"))
    return Code((*found[0].pieces, ", ", *found[1].pieces), 0)
