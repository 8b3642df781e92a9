"""What `vispec verify` raises."""


class NotCheckedError(Exception):
    """Something that brute force cannot evaluate; says what. Never to be counted as agreement."""
