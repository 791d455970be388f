"""Embeddings that say nothing, zero or not finite: they are counted and named, never silently dropped."""


def set_aside(zero: int, nonfinite: int, what: str) -> list[str]:
    """The sentence on what was scored as uninformative; none where there was nothing."""
    if not zero and not nonfinite:
        return []
    return [f"{zero} zero and {nonfinite} non-finite {what}, scored as uninformative"]
