"""What the writers of whole models by templates share."""

from dataclasses import dataclass, field
from random import Random

from tests.random.names import Namer


@dataclass
class Writer:
    """top: declarations outside the rows."""

    rng: Random
    name: Namer
    top: list[str] = field(default_factory=list)

    def maybe(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, *items: str) -> str:
        return self.rng.choice(items)

    def param(self, kind: str, *plates: str) -> str:
        """A parameter in plates, each there already."""
        name = self.name("w")
        lines = [*(f"plate {plate}:" for plate in plates), f"param {name} : {kind}"]
        self.top += [f"{'    ' * at}{line}" for at, line in enumerate(lines)]
        return name
