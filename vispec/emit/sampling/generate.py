"""sample and predict: ancestral generation, chains element by element."""

from vispec.catalog import Distribution, distributions
from vispec.emit.draws.latents import uniform
from vispec.emit.draws.shared import bind_shared
from vispec.emit.laws import trees
from vispec.emit.laws.densities import composed_draw, extra_rank, spread
from vispec.emit.laws.expressions import expression, test_of
from vispec.emit.laws.forms import tensor, to_value
from vispec.emit.posterior import complete
from vispec.emit.sampling.generator import Generator, given_in, inner_generator
from vispec.emit.sampling.grown import grown_together, tree_loop, tree_of_growth
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import ModuleNeeds
from vispec.model.model import Choice, Draw, Law, Model, Then, Variable
from vispec.model.types import INTEGER_DOMAINS
from vispec.model.walk import is_read, law_parts, walk
from vispec.plan.axes import element_plates, past
from vispec.plan.plan import Plan

PREDICT = 'def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:'


def generation_methods(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """`generate`, and sample and predict over it."""
    needs.kernel("vispec.kernels.decide", "decide")
    return [generate_method(plan, needs), sample_method(plan), predict_method(plan, needs)]


def sample_method(plan: Plan) -> list[str]:
    givens = [v.name for v in plan.model.variables if v.role == "given"]
    need = f"`batch` holds {', '.join(givens)}" if givens else "nothing need be given"
    return [
        "@torch.no_grad()",
        "def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:",
        f'    """n rows of every variable, latents too, drawn in the order of the model; {need}.',
        "",
        "    lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).",
        '    """',
        '    return self.generate(n, batch or {}, lengths or {}, "sample")',
    ]


def predict_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    """What is partial by its posterior; otherwise what is observed by its law, averaged over draws of any latents."""
    if partial := [v.name for v in complete(plan)[1] if v.role == "partial"]:
        return filled_method(partial)
    observed = [v for v in plan.model.variables if v.role in ("observed", "partial")]
    names = ", ".join(f'"{v.name}"' for v in observed)
    givens = [v for v in plan.model.variables if v.role == "given" and plan.data_plate in v.plates]
    rows = f'len(batch["{givens[0].name}"])' if givens else "len(next(iter(batch.values())))"
    lengths = ", ".join(
        f'"{p.name}": batch["{p.length_key}"]' for p in plan.model.plates if p.ragged and not given_in(plan.model, p.name)
    )
    if not plan.bayesian_nets and all(v.role != "latent" for v in plan.model.variables):
        return [
            "@torch.no_grad()",
            PREDICT,
            '    """Each observed variable, from what is given. rule: "mean", "mode" or "sample".',
            "",
            "    The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for",
            "    models with latents.",
            '    """',
            f"    found = self.generate({rows}, batch, {{{lengths}}}, rule)",
            f"    return {{name: found[name] for name in ({names},)}}",
        ]
    kinds = ", ".join(f'"{v.name}": "{kind_of(plan.model, v)}"' for v in observed)
    return [
        "@torch.no_grad()",
        PREDICT,
        '    """Each observed variable, from what is given, over so many draws of the latents.',
        "",
        '    rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest',
        "    value under them. What is read again is at its mode in one draw; a sample is one draw of all.",
        '    """',
        f"    rows, kinds = {rows}, {{{kinds}}}",
        f"    return {needs.kernel('vispec.kernels.decide', 'predictive')}("
        f"lambda by: self.generate(rows, batch, {{{lengths}}}, by), kinds, rule, samples)",
    ]


def filled_method(partial: list[str]) -> list[str]:
    names = ", ".join(f'"{name}"' for name in partial)
    return [
        "@torch.no_grad()",
        PREDICT,
        '    """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;',
        '    "mode", the best joint assignment; "sample", a draw. Cells that are seen are as they are seen. samples: for',
        "    models without such variables.",
        '    """',
        '    found = self.posterior(batch, "marginals" if rule == "mean" else rule)',
        f"    return {{name: found[name] for name in ({names},)}}",
    ]


def kind_of(model: Model, variable: Variable) -> str:
    """How a prediction of the variable is averaged over draws; see vispec.kernels.decide.predictive."""
    domain = variable.type.domain
    if domain == "tree" or (is_read(model, variable.name) and variable.type.discrete):
        return "draw"
    return domain if domain in ("bit", "count") else "probabilities" if variable.type.discrete else "number"


def generate_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    w = Generator(plan, needs)
    model = plan.model
    done: set[str] = set()
    results: dict[str, Value] = {}
    bind_shared(w, plan, one=True)
    results |= {name: w.bound[name] for name in plan.shared_latents}
    for name in model.order:
        if name in model.let or name in done or name in plan.shared_latents:
            continue
        variable = model.variable[name]
        if variable.role == "given":
            results[name] = w.data(name)
            continue
        chain = next((p for p in variable.plates if model.plate[p].kind == "chain"), None)
        if (tree := tree_of_growth(variable, model, {*done, *results})) is not None:
            group = grown_together(tree, model, {*done, *results})
            results |= tree_loop(w, tree, group, inner_generator(w), lambda g, v: draw_variable(g, v, v.law))
            done |= {v.name for v in group}
        elif chain is None:
            value = draw_variable(w, variable, variable.law)
            w.bound[name] = value
            results[name] = value
        else:
            group = drawn_along(chain, model, {*done, *results})
            results |= chain_loop(w, chain, group)
            done |= {v.name for v in group}
    codes = {name: leaving(w, model.variable[name], value).code for name, value in results.items()}
    entries = [f'"{name}": {code}' for name, code in codes.items()]
    for p in (p for p in model.plates if p.ragged):
        entries.append(f'"{p.length_key}": {w.arranged(p.length_key, w.lengths(p.name), p.inside).code}')
    for v in model.variables:
        if v.role == "partial":
            entries.append(f'"{v.name}_observed": torch.ones_like({codes[v.name]}, dtype=torch.bool)')
    result = "{" + ", ".join(entries) + "}"
    head = "def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:"
    doc = '    """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""'
    return [head, doc, *(f"    {line}" for line in w.body(result)), f"    return {result}"]


def leaving(w: Generator, variable: Variable, value: Value) -> Value:
    """A variable with its plates as they are nested; by the rule "mean", probabilities of its values may stand behind them."""
    axes = [plate for plate in element_plates(variable) if plate in value.axes]
    moved = [at for at, plate in enumerate(axes) if value.axes[at] != plate]
    if not moved:
        return value
    code = f"{value.code}.movedim({tuple(value.axes.index(axes[at]) for at in moved)}, {tuple(moved)})"
    return w.let(variable.name, code, axes, value.event, integer=value.integer)


def drawn_along(chain: str, model: Model, done: set[str]) -> list[Variable]:
    """What one loop along a chain draws: all that is left in it, but for what grows along a tree and whatever reads that."""
    later, group = set[str](), list[Variable]()
    for name in model.order:
        variable = model.variable.get(name)
        if variable is None or variable.law is None or chain not in variable.plates or name in done:
            continue
        read = {getattr(e, "name", None) for part in law_parts(variable.law) for e in walk(part)}
        if tree_of_growth(variable, model, done) is not None or read & later:
            later.add(name)
        else:
            group.append(variable)
    return group


def chain_loop(w: Generator, chain: str, group: list[Variable]) -> dict[str, Value]:
    """One loop along a chain for all its variables; each has a buffer that the next steps read."""
    buffers: dict[str, Value] = {}
    for v in group:
        axes = w.sort(v.plates)
        sizes = ", ".join([w.axis_size(a) for a in axes] + [w.dim(d) for d in v.type.shape])
        dtype = ", dtype=torch.long" if v.type.domain in INTEGER_DOMAINS else ""
        buffers[v.name] = w.let(v.name, f"self.one.new_zeros({sizes}{dtype})", axes, v.type.shape, integer=bool(dtype))
        w.cache.pop(("code", f"self.one.new_zeros({sizes}{dtype})"), None)
    index = w.fresh(chain)
    inner = inner_generator(w)
    inner.front, inner.drawn = w, frozenset(v.name for v in group)
    inner.at = {**w.at, chain: index}
    inner.bound[f"at {chain}"] = Value(index, scalar=True)
    body: list[str] = []
    for v in group:
        buffer = buffers[v.name]
        at = buffer.axes.index(chain)
        axes = tuple(a for a in buffer.axes if a != chain)
        inner.bound["all " + v.name] = buffer
        for lag in (1, 2):
            code = f"{buffer.code}[{', '.join([':'] * at + [f'{index} - {lag}'])}]"
            inner.bound[past(v.name, lag)] = Value(code, axes, buffer.event, integer=buffer.integer)
    for v in group:
        buffer = buffers[v.name]
        at = buffer.axes.index(chain)
        laws = v.law.laws if isinstance(v.law, Then) else (v.law,)
        target = f"{buffer.code}[{', '.join([':'] * at + [index])}]"
        for step, law in enumerate(laws):
            inner.lines = []
            kept = dict(inner.cache)
            value = draw_variable(inner, v, law, without=chain)
            lines = [*inner.body(value.code), stored(w, v, buffer, at, index, value)]
            inner.cache = kept
            if len(laws) > 1:
                test = "else:" if step == len(laws) - 1 else f"{'if' if step == 0 else 'elif'} {index} == {step}:"
                body.append(test)
                lines = [f"    {line}" for line in lines]
            body += lines
        axes = tuple(a for a in buffer.axes if a != chain)
        inner.bound[v.name] = Value(target, axes, buffer.event, integer=buffer.integer)
    w.line(f"for {index} in range({w.plate_size(chain)}):")
    w.lines += [f"    {line}" for line in body]
    for v in group:
        w.bound[v.name] = buffers[v.name]
    return {v.name: buffers[v.name] for v in group}


def stored(w: Generator, v: Variable, buffer: Value, at: int, index: str, value: Value) -> str:
    """The line that puts a step's value in its place. A mean is of probabilities where a finite variable is not read again."""
    if buffer.integer and v.role != "latent" and not is_read(w.plan.model, v.name):
        function = w.needs.kernel("vispec.kernels.decide", "put")
        return f"{buffer.code} = {function}({buffer.code}, {at}, {index}, {value.code})"
    return f"{buffer.code}[{', '.join([':'] * at + [index])}] = {value.code}"


def draw_variable(w: Generator, variable: Variable, law: Law | None, without: str | None = None) -> Value:
    """A value of the variable by the rule, over its plates (but the chain's, inside its loop)."""
    axes = tuple(a for a in w.sort(variable.plates) if a != without)
    hint = variable.name if without is None else f"{variable.name}_now"
    match law:
        case Choice(test=test, then=then, otherwise=otherwise):
            condition = test_of(w, test)
            left, right = draw_variable(w, variable, then, without), draw_variable(w, variable, otherwise, without)
            test = condition.code if condition.scalar else align(condition, axes)
            function = w.needs.kernel("vispec.kernels.decide", "choose")
            code = f"{function}({test}, {left.code}, {right.code})"
            return w.let(hint, code, axes, variable.type.shape, integer=left.integer)
        case Draw() if variable.type.domain == "tree":
            rule = "rule" if variable.role != "latent" else '"sample"'
            return trees.draw(w, variable, rule, is_read(w.plan.model, variable.name))
        case Draw():
            return draw_law(w, variable, law, axes, hint)
    raise AssertionError(law)


def draw_law(w: Generator, variable: Variable, law: Draw, axes: tuple[str, ...], hint: str) -> Value:
    entry = distributions()[law.distribution]
    shape = [w.axis_size(a) for a in axes] + [w.dim(d) for d in variable.type.shape]
    integer = variable.type.domain in INTEGER_DOMAINS
    if not law.args and entry.optional:
        if variable.role == "latent":
            return uniform(w, variable, axes, shape, hint)
        return decided(w, variable, uniform_law(w, variable, axes, shape), axes, hint)
    rank = len(variable.type.shape)
    if entry.modifier is not None:
        return w.draw(hint, composed_draw(w, law, entry, axes, rank, shape), axes, variable.type.shape)
    settings: list[str] = []
    for name, arg in law.args:
        value = expression(w, arg)
        keyword = name
        if entry.torch_class is not None and entry.takes_logits(name, value.form):
            keyword = "logits"
        else:
            value = spread(w, variable, entry, name, to_value(w, value, arg.type.domain))
        code = tensor(w, value) if value.scalar else align(value, axes, rank + extra_rank(entry, name))
        settings.append(f"{keyword}={code}")
    if entry.torch_class is None:
        assert entry.sampler is not None
        function = w.needs.kernel(str(entry.sampler.__module__), entry.sampler.__name__)
        lead = shape[: len(shape) - entry.event_dim]
        whole = [whole_parameter(entry, lead, *setting.split("=", 1)) for setting in settings]  # a draw for each element
        code = f"{function}({', '.join(whole)})" + ("" if settings else f".expand({', '.join(shape)})")
        return w.draw(hint, code, axes, variable.type.shape, integer=integer)
    whole = ", ".join(shape[: len(shape) - entry.event_dim])
    law_code = f"torch.distributions.{entry.torch_class}({', '.join(settings)}).expand(({whole}{',' if whole else ''}))"
    return decided(w, variable, law_code, axes, hint)


def decided(w: Generator, variable: Variable, law: str, axes: tuple[str, ...], hint: str) -> Value:
    """A value of torch's law by the rule, of a latent drawn."""
    rule = "rule" if variable.role != "latent" else '"sample"'
    code = f"decide({law}, {rule}, {is_read(w.plan.model, variable.name)})"
    return w.draw(hint, code, axes, variable.type.shape, integer=variable.type.domain in INTEGER_DOMAINS)


def uniform_law(w: Generator, variable: Variable, axes: tuple[str, ...], shape: list[str]) -> str:
    """Every value of a finite type as likely; along a ragged plate, of those that are there."""
    type_ = variable.type
    if type_.domain == "bit":
        return f"torch.distributions.Bernoulli(logits=self.one.new_zeros({', '.join(shape)}))"
    plate = w.model.plate[type_.plate] if type_.plate else None
    count = w.plate_size(plate.name) if plate is not None else w.dim(type_.card or 1)
    logits = f"self.one.new_zeros({', '.join([*shape, count])})"
    if plate is not None and plate.ragged:
        lengths = align(w.element(w.lengths(plate.name)), axes)
        logits += f".masked_fill(torch.arange({count}, device=self.one.device) >= ({lengths}).unsqueeze(-1), -torch.inf)"
    return f"torch.distributions.Categorical(logits={logits})"


def whole_parameter(entry: Distribution, lead: list[str], name: str, code: str) -> str:
    """A parameter for each element of the draw's leading shape."""
    own = ["-1"] * entry.param_event_dim.get(name, entry.event_dim)
    return f"{paren(code)}.expand({', '.join([*lead, *own])})" if lead else code
