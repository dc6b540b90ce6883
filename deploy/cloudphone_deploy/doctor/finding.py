"""What a look at one thing tells."""

from typing import Literal

import msgspec

Verdict = Literal["ok", "warning", "failed"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`advice`: what to do about it; empty where all is well."""

    about: str
    verdict: Verdict
    detail: str
    advice: str = ""


def well(about: str, detail: str) -> Finding:
    return Finding(about=about, verdict="ok", detail=detail)


def doubtful(about: str, detail: str, advice: str) -> Finding:
    return Finding(about=about, verdict="warning", detail=detail, advice=advice)


def broken(about: str, detail: str, advice: str) -> Finding:
    return Finding(about=about, verdict="failed", detail=detail, advice=advice)
