"""A start from the data: where a parameter is what a law's sample shows, it starts there."""

import inspect
from dataclasses import dataclass, replace

from vispec.catalog import Distribution, distributions, networks
from vispec.emit.laws.expressions import plain, test_of
from vispec.emit.laws.forms import truth
from vispec.emit.parameters import stored
from vispec.emit.starts import labels
from vispec.emit.starts.places import LINKS, Branch, Place, branches, follows, latents_in, places
from vispec.emit.value import Value, paren
from vispec.emit.writer import ModuleNeeds, Writer, identifier
from vispec.model.model import Expression, Model, NetCall, Param, Ref, Variable
from vispec.plan.axes import Scope, key
from vispec.plan.plan import Plan
from vispec.torch.nets.classes import head_size
from vispec.torch.nets.code import plus


@dataclass(frozen=True)
class Site:
    """A law of some elements of a variable, with the places in it that share their groups and tests."""

    variable: Variable
    branch: Branch
    places: tuple[Place, ...]

    @property
    def tests(self) -> tuple[tuple[Expression, bool], ...]:
        return (*self.branch.tests, *self.places[0].tests)

    def evaluated(self, model: Model) -> tuple[Expression, ...]:
        """What says which element belongs where, but for what the elements themselves are clustered for."""
        by = [e for _, e in self.places[0].by if e is not None and not is_clustered_here(model, self.variable, e)]
        return (*by, *(test for test, _ in self.tests))


def initialise_method(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """The method `initialise(batch)`, if something can start at what the data shows."""
    model = plan.model
    done: set[str] = set()
    seen = [v for v in model.variables if v.role in ("observed", "partial") and v.law is not None]
    found = [site for v in seen for site in sites(plan, v, done)]
    stand_ins = {n for site in found for e in site.evaluated(model) for n in latents_in(model, e)}
    scope = Scope(model, frozenset(), {name: frozenset(model.variable[name].plates) for name in stand_ins})
    w = Writer(model, scope, plan.order, needs)
    guessed: set[str] = set()
    for name in (n for n in model.order if n in stand_ins):
        latent = model.variable[name]
        evidence = [s.variable for s in found if any(name in latents_in(model, e) for e in s.evaluated(model))]
        showing = labels.clustered(w, latent, list(dict.fromkeys(evidence)))
        if showing:
            w.bound[name] = labels.clusters(w, latent, showing)
        elif latent.role == "latent":
            w.bound[name] = labels.guess(w, latent)
            guessed.add(name)
    for name in (n for n in model.order if n in stand_ins and n not in guessed):
        more = sites(plan, model.variable[name], done)
        found += [site for site in more if all(latents_in(model, e) <= stand_ins for e in site.evaluated(model))]
    for site in found:
        emit_site(w, site, guessed)
    told = ["Start parameters at what the batch shows of their laws."] if found else []
    if stand_ins - guessed:
        told.append("Clusters stand in for latents.")
    if guessed:
        told.append("Latents that the batch does not show are guessed.")
    if any(networks()[stage.layer].learns for net in model.nets for stage in net.trunk):
        w.line(f"{needs.kernel('vispec.kernels.layers.standardise', 'learn_scales')}(self, batch)")
        told.append("Standardise by it.")
    if not told:
        return []
    head = ["@torch.no_grad()", "def initialise(self, batch: dict[str, Tensor]) -> None:", f'    """{" ".join(told)}"""']
    return [[*head, *(f"    {line}" for line in w.body(""))]]


# ---- what can start


def sites(plan: Plan, variable: Variable, done: set[str]) -> list[Site]:
    """The places in a variable's law that nothing else starts, grouped."""
    if variable.law is None or variable.type.domain == "tree":
        return []
    found: list[Site] = []
    for branch in sorted(branches(variable.law), key=lambda branch: branch.step is not None):  # first the law of most elements
        entry = distributions()[branch.law.distribution]
        if entry.start is None or not all(follows(plan.model, test) for test, _ in branch.tests):
            continue
        if (entry.event_dim and entry.event_dim != len(variable.type.shape)) or not all_told(plan, variable, branch, entry):
            continue
        grouped: dict[object, list[Place]] = {}
        for name, argument in branch.law.args:
            for place in places(plan.model, name, argument, entry.params[name]):
                if name_of(place) not in done and reachable(plan, variable, entry, place):
                    done.add(name_of(place))
                    grouped.setdefault(key((place.by, place.tests)), []).append(place)
        found += [Site(variable, branch, tuple(group)) for group in merged(list(grouped.values()))]
    return found


def merged(groups: list[list[Place]]) -> list[list[Place]]:
    """Places with some of the dimensions of another's groups join that one: a common scale is that inside the groups."""
    found: list[list[Place]] = []
    for group in sorted(groups, key=lambda group: -len(group[0].by)):
        wider = (other for other in found if is_part(group[0], other[0]))
        other = next(wider, None)
        if other is None:
            found.append(group)
        else:
            other += group
    return found


def is_part(place: Place, other: Place) -> bool:
    """Whether a place's groups are those of the other, without some of their dimensions."""
    if not (isinstance(place.param, Param) and isinstance(other.param, Param)) or key(place.tests) != key(other.tests):
        return False
    return [key(each) for each in other.by if key(each) in {*map(key, place.by)}] == [key(each) for each in place.by]


def is_clustered_here(model: Model, variable: Variable, e: Expression) -> bool:
    """Whether groups are clusters of the variable's own elements: where an index reads latents, and is not just one."""
    composed = bool(latents_in(model, e)) and not (isinstance(e, Ref) and e.name in model.variable)
    return composed and (variable.type.domain in labels.NUMBERS or bool(variable.type.shape))


def name_of(place: Place) -> str:
    return place.param.name if isinstance(place.param, Param) else f"{place.param.net}.{place.param.head}"


def reachable(plan: Plan, variable: Variable, entry: Distribution, place: Place) -> bool:
    """Whether each element's group can be told, and the law's params have at least the dimensions of the place's."""
    tests = [test for test, _ in place.tests]
    by = [e for _, e in place.by if e is not None]
    if not all(follows(plan.model, e) for e in (*tests, *by) if e in tests or not is_clustered_here(plan.model, variable, e)):
        return False
    if isinstance(place.param, NetCall):
        return not plan.model.net[place.param.net].random and place.param.type.shape == variable.type.shape
    if not all(plate in variable.plates for plate, e in place.by if e is None):
        return False
    event = place.param.type.shape[1:] if place.by and place.by[-1][0] == "" else place.param.type.shape
    rank = len(variable.type.shape) - entry.event_dim + entry.param_event_dim.get(place.name, entry.event_dim)
    return len(event) <= rank


def all_told(plan: Plan, variable: Variable, branch: Branch, entry: Distribution) -> bool:
    """Whether what the start reads beside the elements is data."""
    arguments = dict(branch.law.args)
    known = [arguments[name] for name in reads_of(entry) if name in arguments]
    sized = "size" not in reads_of(entry) or not (variable.type.card is None and variable.type.plate is None)
    return sized and all(follows(plan.model, e) and not latents_in(plan.model, e) for e in known)


def reads_of(entry: Distribution) -> list[str]:
    """What a law's start reads beside the elements."""
    return [] if entry.start is None else list(inspect.signature(entry.start).parameters)[1:]


# ---- its text


def emit_site(w: Writer, site: Site, guessed: set[str]) -> None:
    """The lines by which the parameters of one law start. Those of guessed latents start apart."""
    entry = distributions()[site.branch.law.distribution]
    assert entry.start is not None
    start = w.needs.kernel(entry.start.__module__, entry.start.__name__)
    value, cells = elements(w, site)
    at = [index(w, site, at, value, cells) for at in range(len(site.places[0].by))]
    arguments = dict(site.branch.law.args)
    told = [told_of(w, site.variable, arguments.get(name), cells) for name in reads_of(entry)]
    wanted = {place.name: place for place in site.places}
    now = [now_of(w, site, wanted[name]) if name in wanted else "None" for name in entry.params]
    targets = [target_of(w, site, wanted[name]) for name in entry.params if name in wanted]
    left = ", ".join(target for target, _ in targets)
    function = w.needs.kernel(labels.KERNELS, "by_group")
    call = f"{function}({', '.join([start, value, in_tuple(at), in_tuple(now), *told, *chosen(w, site, cells)])})"
    w.line(f"{left if len(targets) > 1 else f'({left},)'} = {call}")
    w.lines += [line for _, lines in targets for line in lines]
    if any(getattr(e, "name", None) in guessed for _, e in site.places[0].by):
        params = [place.param for place in site.places if isinstance(place.param, Param)]
        w.lines += [apart(stored(param)[0]) for param in params if param.type.domain in ("unit", "simplex")]


def chosen(w: Writer, site: Site, cells: dict[str, str] | None) -> list[str]:
    """Of the elements those that what stands for latents gives this law, as an argument."""
    tests = [condition(w, test, wanted) for test, wanted in site.tests if latents_in(w.model, test)]
    return [f"among={' & '.join(at_cells(test, cells) for test in tests)}"] if tests else []


def in_tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' * (len(items) == 1)})"


def apart(code: str) -> str:
    """Noise in the log-odds or logits, so that what nothing tells apart starts apart."""
    return f"{code} += torch.randn_like({code})"


def elements(w: Writer, site: Site) -> tuple[str, dict[str, str] | None]:
    """The elements that count, (N, *event), and the name of their indices along each axis; None where all along one axis do."""
    variable = site.variable
    value = w.bound.get(variable.name) or w.data(variable.name)
    masks = [w.inside(axis) for axis in value.axes if w.model.plate[axis].ragged]
    read = {variable.name}.union(*(latents_in(w.model, e) for e in site.evaluated(w.model)))
    partial = [v.name for v in w.model.variables if v.name in read and v.role == "partial" and v.name not in w.bound]
    masks += [w.observed(name) for name in partial]
    masks += [condition(w, test, wanted) for test, wanted in site.tests if not latents_in(w.model, test)]
    masks += chain_masks(w, variable, site.branch)
    if not masks and len(value.axes) == 1:
        return value.code, None
    known = ("cells", variable.name, tuple(mask.code for mask in masks))
    if known not in w.cache:
        names = [w.fresh(axis) for axis in value.axes]
        mask = labels.whole(w, masks, value.axes)
        left = ", ".join(names) if len(names) > 1 else f"({names[0]},)"
        w.line(f"{left} = {paren(mask)}.nonzero(as_tuple=True)")
        w.cache[known] = dict(zip(value.axes, names, strict=True))
    cells: dict[str, str] = w.cache[known]  # type: ignore[assignment]
    return f"{value.code}[{', '.join(cells.values())}]", cells


def condition(w: Writer, test: Expression, wanted: bool) -> Value:
    """Which elements a test holds for, or those for which it does not."""
    value = test_of(w, test)
    code = truth(value, value.code)
    return replace(value, code=code if wanted else f"~{paren(code)}", event=(), truth=True)


def chain_masks(w: Writer, variable: Variable, branch: Branch) -> list[Value]:
    """Which elements of a chain have this law, where its first ones have others."""
    if branch.step is None and not branch.since:
        return []
    chain = next(p for p in variable.plates if w.model.plate[p].kind == "chain")
    position = w.position(chain)
    test = f"({position.code} == {branch.step})" if branch.since is None else f"({position.code} >= {branch.since})"
    return [w.let(f"{chain}_has_law", test, (chain,))]


def at_cells(value: Value, cells: dict[str, str] | None) -> str:
    if cells is None or not value.axes:
        return value.code
    return f"{paren(value.code)}[{', '.join(cells[axis] for axis in value.axes)}]"


def index(w: Writer, site: Site, at: int, value: str, cells: dict[str, str] | None) -> str:
    """Where along a dimension of its groups each element belongs."""
    plate, e = site.places[0].by[at]
    if e is None:
        return w.position(plate).code if cells is None else cells[plate]
    if not is_clustered_here(w.model, site.variable, e):
        return at_cells(plain(w, e), cells)
    return labels.clusters_of_elements(w, site.variable, value, size_along(w, site, at)).code


def size_along(w: Writer, site: Site, at: int) -> str:
    """How many groups there are along a dimension of them."""
    plate, param = site.places[0].by[at][0], site.places[0].param
    return w.plate_size(plate) if plate else w.dim(param.type.shape[0])


def lacking(site: Site, place: Place) -> list[int]:
    """The dimensions of the site's groups along which a place's parameter is one."""
    own = {*map(key, place.by)}
    return [at for at, each in enumerate(site.places[0].by) if key(each) not in own]


def told_of(w: Writer, variable: Variable, argument: Expression | None, cells: dict[str, str] | None) -> str:
    if argument is None:
        return str(labels.card(w, variable))
    value = plain(w, argument)
    return f"self.one * {value.code}" if value.scalar else at_cells(value, cells)


def head_slice(w: Writer, call: NetCall) -> str:
    """The bias of a net's head."""
    net = w.model.net[call.net]
    sizes = [head_size(type_) for _, type_ in net.heads]
    at = [head for head, _ in net.heads].index(call.head)
    first, last = (w.dim(plus(*sizes[:end])) for end in (at, at + 1))
    bias = w.let(f"{net.name}_bias", f"self.{identifier(net.name)}.out.bias")
    return f"{bias.code}[{first}:{last}]"


def now_of(w: Writer, site: Site, place: Place) -> str:
    """What the law's param is at present in each group, as text."""
    if isinstance(place.param, NetCall):
        code = head_slice(w, place.param)
        if len(place.param.type.shape) > 1:
            code += f".view({', '.join(map(w.dim, place.param.type.shape))})"
        return f"F.softplus({code})" if place.param.type.domain == "positive" else code
    code = f"self.{identifier(place.param.name)}"
    if place.link:
        code = LINKS[place.link][0].format(code)
    missing = lacking(site, place)
    if not missing:
        return code
    rank = len(place.param.plates) + len(place.param.type.shape) + len(missing)
    items = ["None" if at in missing else ":" for at in range(rank)]
    sizes = [size_along(w, site, at) if at in missing else "-1" for at in range(rank)]
    return f"{code}[{', '.join(items[: missing[-1] + 1])}].expand({', '.join(sizes)})"


def target_of(w: Writer, site: Site, place: Place) -> tuple[str, list[str]]:
    """What is assigned to, and the lines that follow."""
    if isinstance(place.param, NetCall):
        bias, type_ = head_slice(w, place.param), place.param.type
        flat = ".flatten()" * (len(type_.shape) > 1)
        if type_.domain == "positive":
            name, inverse = w.fresh(place.name), w.needs.kernel("vispec.kernels.constraints", "softplus_inverse")
            return name, [f"{bias} = {inverse}({name}){flat}"]
        return (bias, []) if not flat else (name := w.fresh(place.name), [f"{bias} = {name}{flat}"])
    code = f"self.{identifier(place.param.name)}"
    target = f"{code}[...]" if stored(place.param)[1] == "value" else code
    missing = lacking(site, place)
    if not place.link and not missing:
        return target, []
    name = w.fresh(place.name)
    found = f"{name}.mean({missing[0] if len(missing) == 1 else tuple(missing)})" if missing else name
    return name, [f"{target} = {LINKS[place.link][1].format(found) if place.link else found}"]
