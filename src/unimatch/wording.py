"""Words of messages that depend on numbers."""


def counted(count: object, noun: str) -> str:
    """Returns a number with its noun.

    >>> counted(1, "image"), counted(9, "image"), counted(0, "class")
    ('1 image', '9 images', '0 classes')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
