"""The one place for names: what a spec calls something is safe as an attribute of the module and as a variable of a method."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Iterable, Mapping

from vispec.torch.text.source_text import kernel_names


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PYTHON = _words("""
    self torch nn F Tensor len int float bool range dict next iter zip list max min sum abs tuple enumerate map type super
    isinstance print str property ValueError
""")
"""Names that emitted code reads, inside methods and in the class around them, and those that would surprise a reader as
variables."""

MODULE = _words("""training call_super_init dump_patches forward register_buffer register_parameter add_module register_module
    get_submodule set_submodule get_parameter get_buffer get_extra_state set_extra_state apply cuda ipu xpu mtia cpu type float
    double half bfloat16 to_empty to register_full_backward_pre_hook register_backward_hook register_full_backward_hook
    register_forward_pre_hook register_forward_hook register_state_dict_pre_hook state_dict register_load_state_dict_pre_hook
    register_load_state_dict_post_hook load_state_dict parameters named_parameters buffers named_buffers children
    named_children modules named_modules train eval requires_grad_ zero_grad share_memory extra_repr compile T_destination
    register_state_dict_post_hook""")
"""What torch.nn.Module holds under a public name."""

INTERFACE = _words("""
    log_prob loss posterior sample predict generate sequences shared shared_draws tilted tilted_pairs initialise log_weights
    divergences draws weighted_draws no_chances one guides unknowns neighbours sleep few exact_log_prob estimated_log_prob
    exact estimator sums renamed parameter memory max_joint_values temperature kl_weight score_baseline joint_guide
""")
"""What an emitted module holds itself: docs/emitted.md."""


def identifier(name: str) -> str:
    """An identifier as like the name as can be, and no keyword of Python's."""
    normal = unicodedata.normalize("NFKC", name)
    found = "".join(c if f"_{c}".isidentifier() else "_" for c in normal) or "_"
    found = found if found.isidentifier() else f"_{found}"
    return found + "_" if keyword.iskeyword(found) else found


def local(name: str) -> str:
    """What a method calls a latent that it is told."""
    found = identifier(name)
    return (
        found + "_"
        if found in PYTHON or found in ("batch", "shared", "tilt", "total", "n", "lengths", "rule", "other")
        else found
    )


class Names:
    """Names that are taken; `fresh` gives one that is not, as like a hint as can be."""

    def __init__(self, reserved: Iterable[str] = ()):
        self.taken = {*reserved}
        self.reserved = frozenset(self.taken)

    def fresh(self, hint: str) -> str:
        base = identifier(hint)
        name = base + "_" if base in self.reserved else base
        count = 2
        while name in self.taken:
            name, count = f"{base.rstrip('_') or '_'}_{count}", count + 1
        self.taken.add(name)
        return name


class ModuleNames:
    """Attributes of one module, by what they are and what the spec calls them: a size K and a net K are two."""

    def __init__(self, reserved: Iterable[str] = (), stored: Mapping[str, str] | None = None):
        self.names = Names({*MODULE, *INTERFACE, *PYTHON, *reserved})
        self.stored = stored or {}  # what is stored of a parameter, by its name
        self.known: dict[tuple[str, str], str] = {}

    def attribute(self, kind: str, name: str) -> str:
        if (kind, name) not in self.known:
            if kind in ("buffer", "module"):
                return name
            # the constructor's arguments are sizes, and it calls kernels
            found = self.names.fresh(f"{name}_" if kind == "size" and name in kernel_names() else name)
            # a name with two underscores in front is mangled inside a class
            self.known[kind, name] = self.names.fresh(f"its{found}") if found.startswith("__") else found
        return self.known[kind, name]

    def renamed(self) -> dict[str, str]:
        """Parameters, nets and deterministic nodes that have another name in the module than in the spec, with it."""
        kinds = ("parameter", "property", "net")
        return {name: found for (kind, name), found in self.known.items() if kind in kinds and name != found}
