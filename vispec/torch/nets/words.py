"""Names of arguments and layers in the classes of nets."""

import keyword
from functools import cache
from pkgutil import walk_packages

import vispec.kernels
from vispec.torch.source_text import definitions

USED_BY_EMITTED_CODE = """
self batch index torch nn F Tensor tilt total query other n lengths rule one memory
len float int range dict next iter zip list max tuple
"""
RESERVED = frozenset(USED_BY_EMITTED_CODE.split())


def identifier(name: str) -> str:
    """A spec's name as a Python one: keywords and the names that emitted code uses get a trailing underscore."""
    return name + "_" if keyword.iskeyword(name) or name in RESERVED else name


@cache
def kernel_names() -> frozenset[str]:
    """Functions and classes that an emitted file may hold besides its nets and the model."""
    found = (module.name for module in walk_packages(vispec.kernels.__path__, "vispec.kernels."))
    return frozenset(name for module in found for name in definitions(module)[1])


def size_name(name: str) -> str:
    """A size as the argument of a constructor, where it must hide no kernel."""
    safe = identifier(name)
    return f"{safe}_" if safe in kernel_names() else safe
