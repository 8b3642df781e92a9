"""Estimators: how a latent is drawn, how its gradient is formed, how samples' log-weights become a bound. One ENTRY a file."""

from collections.abc import Mapping
from functools import cache

from vispec.estimators.entry import EstimatorKind


@cache
def estimators() -> Mapping[str, EstimatorKind]:
    """All estimators, by name."""
    import vispec.estimators
    from vispec.catalog import discover

    return discover(vispec.estimators)
