"""What `vispec verify` raises."""


class NotCheckedError(Exception):
    """Something that brute force cannot evaluate; says what. Never to be counted as agreement."""


class NoNumberError(NotCheckedError):
    """A law of the spec itself gives nan, so that no module could be right."""


class ImproperError(NotCheckedError):
    """A posterior that cannot be normed: the data say nothing of what a `Flat()` says nothing of."""
