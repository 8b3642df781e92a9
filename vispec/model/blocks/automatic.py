"""`auto(full_rank)` in `guide:`: the family of the guide over all latents that rows share and that have none of their own."""

from collections.abc import Mapping, Sequence

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.problems import did_you_mean, head, listed
from vispec.model.values.literals import is_whole, literal
from vispec.syntax import tree as t

FAMILIES: Mapping[str, Mapping[str, int]] = {
    "mean_field": {},
    "full_rank": {},
    "low_rank": {"rank": 4},
    "flow": {"layers": 2, "hidden": 32},
}
"""Family → its settings, whole numbers from 1, with their defaults."""
USAGE = "write `auto(full_rank)`, `auto(low_rank, rank=4)` or `auto(flow, layers=2, hidden=32)`"


def read_auto(
    scope: Scope, entries: Sequence[t.GuideLaw | t.GuideLet | t.GuideAuto], variables: Sequence[m.Variable]
) -> m.JointGuide | None:
    """The one `auto(...)` of the guide. Each latent on its own (`mean_field`) is what happens without it: None."""
    found = [entry for entry in entries if isinstance(entry, t.GuideAuto)]
    for second in found[1:]:
        cause = (found[0].span, "the first one")
        scope.problems.add("V619", second.span, "two automatic guides", "the second one", cause=cause, help="leave one out")
    if not found:
        return None
    guide = _read(scope, found[0].call)
    own = {entry.name.id for entry in entries if isinstance(entry, t.GuideLaw)}
    data = {plate.name for plate in scope.plates.values() if plate.data}
    left = [v for v in variables if v.role == "latent" and not data & set(v.plates) and v.name not in own]
    if guide is not None and not left and not scope.problems.errors:
        message = "every latent is in the data plate or has a guide of its own, so there is nothing that rows share to guess"
        help = "leave this line out: latents of each row get a guide without it"
        scope.problems.add("V620", found[0].span, message, "nothing to guess", help=help)
    return guide if guide is not None and guide.family != "mean_field" else None


def _read(scope: Scope, call: t.Call) -> m.JointGuide | None:
    name = call.function
    if name.id != "auto":
        message = f"`{name.id}(...)` is no line of a guide"
        help = f"write `z ~ {name.id}(...)` with the latent's name, or `auto(full_rank)`"
        scope.problems.add("V618", name.span, message, "no latent is named", help=help)
        return None
    family = call.args[0].id if call.args and isinstance(call.args[0], t.Name) else ""
    if family not in FAMILIES:
        span = call.args[0].span if call.args else call.span
        help = did_you_mean(family, FAMILIES, USAGE)
        scope.problems.add("V618", span, f"an automatic guide is one of {listed(FAMILIES, 'or')}", "not one", help=help)
        return None
    settings = dict(FAMILIES[family])
    good = True
    for extra in call.args[1:]:
        scope.problems.add("V618", extra.span, "settings of an automatic guide have names", "no name", help=USAGE)
        good = False
    for keyword in call.kwargs:
        good = _setting(scope, family, keyword, settings) and good
    return m.JointGuide(family, tuple(settings.items()), call.span) if good else None


def _setting(scope: Scope, family: str, keyword: t.Keyword, settings: dict[str, int]) -> bool:
    """Take one setting into `settings`; False where it is wrong."""
    if keyword.name not in FAMILIES[family]:
        known = f"it has {listed(FAMILIES[family])}" if FAMILIES[family] else f"write `auto({family})`"
        help = did_you_mean(keyword.name, FAMILIES[family], known)
        span = head(keyword.span, keyword.name)
        scope.problems.add("V618", span, f"`auto({family})` has no setting `{keyword.name}`", "not a setting", help=help)
        return False
    try:
        value = literal(keyword.value)
    except ValueError:
        value = None
    if not isinstance(value, int) or not is_whole(value):
        message = f"`{keyword.name}` of `auto({family})` must be a whole number of at least 1"
        scope.problems.add("V618", keyword.value.span, message, "this value")
        return False
    settings[keyword.name] = value
    return True
