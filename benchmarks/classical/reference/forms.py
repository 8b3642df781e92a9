"""What leaves a log-likelihood as it is: orders of classes, whole turns, signs; and which columns are in which unit.

CLASSES: the axes of each parameter that the order of classes moves. PERIODS: what a parameter may be shifted by. MIRRORED:
those whose sign is free. UNITS: groups of columns that share a unit, and how many densities of the log-likelihood are in that
unit: `ALL` the rows, 0 those of inputs."""

from math import ceil, log10
from typing import Any

from benchmarks.classical.reference.model import read

ALL = -1

CLASSES = {
    "deaths_poissons": {"pi": [0], "rate": [0]},
    "grunfeld_mixture": {"pi": [0], "a": [0], "w": [0], "s": [0]},
    "crabs_mixture": {"pi": [0], "mu": [0], "s": [0]},
    "carcinoma_lca": {"pi": [0], "p": [0]},
    "roles_lca": {"pi": [0], "p": [0]},
    "anaesthetists": {"prevalence": [0], "confusion": [1]},
    "turtles_vonmises": {"pi": [0], "mu": [0], "kappa": [0]},
    "geyser_gammas": {"pi": [0], "shape": [0], "rate": [0]},
    "geyser_hmm": {"init": [0], "trans": [0, 1], "mu": [0], "s": [0]},
    "macro_hmm": {"init": [0], "trans": [0, 1], "mu": [0]},
    "gnp_switching": {"trans": [0, 1], "mu": [0]},
    "lanczos3": {"a": [0], "b": [0]},
}
PERIODS = {"turtles_vonmises": {"mu": 6.283185307179586}}
MIRRORED = {"murray_normal": ["b"]}

Group = tuple[str, int]  # columns, and densities
CURVE: tuple[Group, ...] = (("x", 0), ("y", ALL))
UNITS: dict[str, tuple[Group, ...]] = {
    "committee_negbin": tuple((name, 0) for name in ("SIZE", "SUBS", "STAFF", "PRESTIGE", "BILLS103")),
    "scotland_gamma": (
        ("y", ALL),
        *((name, 0) for name in ("COUTAX", "UNEMPF", "MOR", "ACT", "GDP", "AGE", "COUTAX_FEMALEUNEMP")),
    ),
    "food_beta": (("income", 0), ("persons", 0)),
    "anes_ordinal": tuple((name, 0) for name in ("logpopul", "TVnews", "selfLR", "age", "educ", "income")),
    "travel_mode": (("x", 0),),
    "beetles_cloglog": (("dose", 0),),
    "leukaemia_exponential": (("weeks", ALL), ("cells", 0)),
    "stackloss_student": (("y", ALL), ("air", 0), ("water", 0), ("acid", 0)),
    "stackloss_laplace": (("y", ALL), ("air", 0), ("water", 0), ("acid", 0)),
    "ships_poisson": (("service", 0),),
    "grunfeld_firms": (("invest", ALL), ("value", 0), ("capital", 0)),
    "grunfeld_mixture": (("y", ALL), ("value", 0), ("capital", 0)),
    "larynx_cure": (("time t", 50), ("stage", 0)),
    "longley_normal": tuple((name, ALL) for name in ("TOTEMP", "GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR")),
    "port_pirie_gumbel": (("level", ALL),),
    "darwin_cauchy": (("x", ALL),),
    "murray_normal": (("x at", 8), ("y", 8)),
    "iris_separated": (("length", 0),),
    **dict.fromkeys(("misra1a", "mgh09", "thurber", "rat42", "boxbod", "mgh10", "lanczos3"), CURVE),
    "puromycin": (("rate", ALL), ("dose", 0)),
    "crabs_mixture": (("x", ALL),),
    "geyser_gammas": (("x", ALL),),
    "geyser_hmm": (("x", ALL),),
    "macro_hmm": (("x", 2 * 202),),
    "gnp_switching": (("x", 134),),
    "sunspots_ar": (("x", 307),),
    "inflation_arch": (("x", 200),),
}


SHIFTS = {
    "committee_negbin": "SIZE SUBS STAFF PRESTIGE BILLS103",
    "scotland_gamma": "COUTAX UNEMPF MOR ACT GDP AGE",
    "food_beta": "income persons",
    "anes_ordinal": "logpopul TVnews selfLR age educ income",
    "beetles_cloglog": "dose",
    "leukaemia_exponential": "cells",
    "stackloss_student": "y air water acid",
    "stackloss_laplace": "y air water acid",
    "grunfeld_firms": "invest value capital",
    "grunfeld_mixture": "y value capital",
    "larynx_cure": "stage",
    "port_pirie_gumbel": "level",
    "darwin_cauchy": "x",
    "crabs_mixture": "x",
    "geyser_hmm": "x",
    "macro_hmm": "x",
    "gnp_switching": "x",
    "sunspots_ar": "x",
    "inflation_arch": "x",
}
"""Columns whose zero a model does not know: of laws of location, and inputs beside a constant."""


def forms(name: str) -> dict[str, Any]:
    """The keys of truth.json that say so."""
    found: dict[str, Any] = {"classes": CLASSES[name]} if name in CLASSES else {}
    found |= {"periods": PERIODS[name]} if name in PERIODS else {}
    found |= {"mirrored": MIRRORED[name]} if name in MIRRORED else {}
    if name in UNITS:
        first = next(iter(read(name).values()))
        groups = [{"columns": names.split(), "densities": len(first) if n == ALL else n} for names, n in UNITS[name]]
        for group in groups:
            if group["columns"][0] in SHIFTS.get(name, "").split():
                group["shift"] = shift(name, group["columns"])
        found["units"] = groups
    return found


def shift(name: str, columns: list[str]) -> int:
    """The power of ten next above ten times the largest value: as from degrees Celsius to kelvin, and more."""
    return 10 ** ceil(log10(10 * max(float(read(name)[column].abs().max()) for column in columns)))
