"""The sleep phase of wake–sleep (Hinton et al. 1995): the guide's log-density at latents that the model dreams, with its data.

The wake phase is log_prob: at draws of the guide, which carry no gradient, the model learns log p. Here the model dreams rows,
and the guide learns to say which latents they came from: ∇ KL(p(z | x) ‖ q(z | x)) at dreamed x in the place of
∇ KL(q(z | x) ‖ p(z | x)) at the data, so the gradient is that of no one bound.
"""

from __future__ import annotations

from vispec.plan.held.setting import Setting
from vispec.program import build
from vispec.program.node import Node
from vispec.program.walk import substitute


def slept(s: Setting) -> Node | None:
    """log q of each row of a batch that holds its latents too; None where no guide learns from dreams."""
    frame, model = s.f.frame, s.f.model
    names = [name for name in s.draws.everything if s.draws.way(name).sleeps]
    if not names:
        return None
    dreamed = {frame.site(v): frame.data(v) for v in model.variables if v.role in ("latent", "partial")}
    parts = list[Node]()
    for name in names:
        density = s.f.guides[name].log_prob
        assert density is not None
        (log_q,) = substitute([density], dreamed)
        plates = {*map(frame.plate, model.variable[name].plates)} - {*s.draws.rows}
        parts.append(build.reduce("sum", frame.named(log_q, f"log_q_{name}"), plates))
    return build.spread(build.add(*parts), s.draws.rows)
