"""wake_sleep: draws of the guide teach the model, dreams of the model teach the guide (Hinton et al. 1995)."""

from vispec.estimators.entry import EstimatorKind, Way

DREAMS = Way("wake_sleep", learns=False, sleeps=True)

ENTRY = EstimatorKind(
    "wake_sleep",
    words="draws from its guide, which learns from the model's own samples",
    guide=True,
    way=lambda settings, discrete: DREAMS,
    bound=lambda settings: "elbo",
    biased="the guide learns from the model's own samples",
)
