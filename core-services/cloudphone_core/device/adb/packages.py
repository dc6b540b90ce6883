"""What a phone's package manager says."""

import re

import msgspec

from .errors import PhoneRefused
from .shell import ShellAnswer

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_FAILURE = re.compile(r"Failure \[([A-Z][A-Z0-9_]*)(?::\s*([^\]]*))?")


class InstalledPackage(msgspec.Struct, frozen=True, kw_only=True):
    version_code: int


def package_name(text: str) -> str:
    """Raises ValueError for what can be none."""
    if not _NAME.fullmatch(text) or len(text) > 255:
        raise ValueError(f"{text[:80]!r} is no name of a package")
    return text


def check_done(answer: ShellAnswer, otherwise: str) -> None:
    """Raises PhoneRefused with the code that the phone names, or `otherwise`."""
    if answer.code == 0 and any(line.strip() == "Success" for line in answer.output.splitlines()):
        return
    found = _FAILURE.search(answer.output)
    code = found[1] if found else otherwise
    detail = (found[2] or "").strip() if found else answer.output.strip()[:200]
    raise PhoneRefused(code, f"{code}: {detail}" if detail else code)


def version_of(name: str, listed: str) -> InstalledPackage | None:
    """From what `pm list packages --show-versioncode` says, which lists longer names too."""
    for line in listed.splitlines():
        found = re.fullmatch(rf"package:(?:.*=)?{re.escape(name)} versionCode:(\d{{1,19}}).*", line.strip())
        if found:
            return InstalledPackage(version_code=int(found[1]))
    return None
