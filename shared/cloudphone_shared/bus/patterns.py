"""Topic patterns: words between dots, `*` for one word, `#` for any number of them, none included."""

import re
from collections.abc import Callable, Iterable


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a type matches one of the patterns."""
    expression = re.compile("|".join(_expression(pattern) for pattern in patterns))
    return lambda event_type: expression.fullmatch(f".{event_type}") is not None


def _expression(pattern: str) -> str:
    wild = {"*": r"\.[^.]+", "#": r"(?:\.[^.]+)*"}
    return "".join(wild.get(word, r"\." + re.escape(word)) for word in pattern.split("."))


def subjects(prefix: str, patterns: Iterable[str]) -> list[str]:
    """NATS subjects that cover the patterns, pairwise disjoint as a consumer's filters must be; maybe wider."""
    wanted = sorted({subject for pattern in patterns for subject in _covering(prefix, pattern)})
    kept = [s for s in wanted if not any(_includes(other, s) for other in wanted if other != s)]
    disjoint = all(not _meet(a, b) for a in kept for b in kept if a != b)
    return kept if disjoint else [f"{prefix}.>"]


def exact(prefix: str, pattern: str) -> list[str]:
    """The subjects of one pattern, empty where NATS has none that mean the same."""
    return [] if "#" in pattern.split(".")[:-1] or pattern.count("#") > 1 else _covering(prefix, pattern)


def _covering(prefix: str, pattern: str) -> list[str]:
    # A NATS `>` stands last and for one word or more.
    if pattern.startswith("#"):
        return [f"{prefix}.>"]
    head, hash_, _ = pattern.partition(".#")
    return [f"{prefix}.{head}", f"{prefix}.{head}.>"] if hash_ else [f"{prefix}.{head}"]


def _includes(wide: str, narrow: str) -> bool:
    a, b = wide.split("."), narrow.split(".")
    if a[-1] == ">":
        if len(b) < len(a):
            return False
        a, b = a[:-1], b[: len(a) - 1]
    return len(a) == len(b) and all(x in (y, "*") and y != ">" for x, y in zip(a, b, strict=True))


def _meet(one: str, other: str) -> bool:
    a, b = one.split("."), other.split(".")
    for x, y in zip(a, b, strict=False):
        if ">" in (x, y):
            return True
        if x != y and "*" not in (x, y):
            return False
    return len(a) == len(b)
