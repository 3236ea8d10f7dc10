"""Whole numbers of pixels: which sizes a model takes, and where windows lie."""


def nearest_multiple(side: float, multiple: int) -> int:
    """The multiple nearest to a side, at least one; halves round up.

    >>> nearest_multiple(500, 14), nearest_multiple(3, 14), nearest_multiple(7, 1)
    (504, 14, 7)
    """
    return max(1, int(side / multiple + 0.5)) * multiple


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one side: every ``stride`` pixels, the last one moved back to end with the image.

    An image that is no longer than the window has one window, the image.

    >>> window_starts(2048, 798, 532), window_starts(500, 798, 532)
    ([0, 532, 1064, 1250], [0])
    """
    last = max(side - window, 0)
    return [*range(0, last, stride), last]
