"""The writer of `generate`, in which every variable has a value."""

from vispec.emit.draws.chain import reads
from vispec.emit.value import Value
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.model.model import All, Expression, For, Model, Past, Prefix, Select
from vispec.model.walk import walk
from vispec.plan.axes import Scope, element_plates
from vispec.plan.plan import Plan


def given_in(model: Model, plate: str) -> bool:
    return any(plate in element_plates(v) for v in model.variables if v.role == "given")


class Generator(Writer):
    """A writer in which every variable has a value; inside a chain's loop the chain's plate is at one element."""

    def __init__(self, plan: Plan, needs: ModuleNeeds):
        super().__init__(plan.model, Scope(plan.model, frozenset(), {}), plan.order, needs)
        self.plan = plan
        self.taken |= {"rule", "lengths", "d"}
        self.front: Generator | None = None  # in a chain's loop: the writer in front of it
        self.drawn: frozenset[str] = frozenset()  # what the loop draws

    def plate_size(self, plate: str) -> str:
        found = self.model.plate[plate]
        if found.data:
            return "n"
        if found.size is not None:
            return super().plate_size(plate)
        given = next((v for v in self.model.variables if v.role == "given" and plate in element_plates(v)), None)
        if given is not None:
            value = super().data(given.name)
            return f"{value.code}.shape[{value.axes.index(plate)}]"
        if ("size", plate) not in self.cache:
            name = self.fresh(f"{plate}_size")
            self.line(f"{name} = int({self.lengths(plate).code}.max())")
            self.cache["size", plate] = name
        return str(self.cache["size", plate])

    def lengths(self, plate: str) -> Value:
        found = self.model.plate[plate]
        if given_in(self.model, plate):
            return super().lengths(plate)
        value = self.let(found.length_key, f'lengths["{plate}"]', found.inside, integer=True)
        return self.arranged(found.length_key, value, self.sort(found.inside))

    def around(self, e: Expression) -> Writer | None:
        """What reads several elements, or another than its own, of what the loop does not draw is computed in front of it."""
        several = any(isinstance(part, All | Prefix | Past | Select | For) for part in walk(e))
        return self.front if several and not reads(e, self.drawn, self.model) else None

    def data(self, name: str) -> Value:
        value = super().data(name)
        return self.element(value)


def inner_generator(w: Generator) -> Generator:
    """A writer for the body of a loop: it knows what stands before the loop and does not change in it."""
    inner = Generator(w.plan, w.needs)
    inner.taken, inner.bound, inner.cache = set(w.taken), dict(w.bound), {k: v for k, v in w.cache.items() if outer_key(k)}
    return inner


def outer_key(key: object) -> bool:
    """Cached things that do not change along a loop: data, sizes and parameters."""
    return isinstance(key, tuple) and bool(key) and key[0] in ("data", "size", "code")
