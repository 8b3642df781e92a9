"""The estimators that a module reports, as entries with their settings."""

import re
from dataclasses import dataclass

from vispec.estimators import estimators
from vispec.estimators.entry import EstimatorKind


@dataclass(frozen=True)
class Asked:
    """bound: what its samples' log-weights become: their mean ("elbo"), or the log of the mean weight ("iwae")."""

    kind: EstimatorKind
    settings: dict[str, str]

    @property
    def bound(self) -> str:
        found = self.kind.bound(self.settings) or "elbo"
        return "elbo" if found == "mc" and self.settings.get("samples", "1") == "1" else "iwae" if found == "mc" else found


def asked(estimator: str) -> list[Asked]:
    """`elbo(samples=2), score(samples=8, baseline=loo)`; of what is no estimator's text, none."""
    found = list[Asked]()
    for name, inside in re.findall(r"(\w+)(?:\(([^)]*)\))?(?:, |$)", estimator):
        if name in estimators():
            found.append(Asked(estimators()[name], dict(re.findall(r"(\w+)=(\w+)", inside))))
    return found
