"""Byte ranges of objects."""


def resolve_range(key: str, size: int, start: int, end: int | None) -> int:
    """The end of the range in bytes. Raises ValueError unless 0 <= start <= end <= size."""
    stop = size if end is None else end
    if not 0 <= start <= stop <= size:
        wanted = f"{start}-{'' if end is None else end}"
        raise ValueError(f"the range {wanted} is outside of {key!r}, which has {size} bytes")
    return stop
