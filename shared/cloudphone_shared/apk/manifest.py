"""The manifest: what an APK says of itself."""

import re
from typing import NamedTuple

from .binary_xml import Element, Reference, Value, elements
from .refusal import ApkRefused, bad_manifest

_PACKAGE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
_LONGEST_NAME, _LONGEST_TEXT = 200, 80
_MOST_PERMISSIONS = 500
_MAIN, _LAUNCHER = "android.intent.action.MAIN", "android.intent.category.LAUNCHER"


class Manifest(NamedTuple):
    """`activity`: what the launcher starts, its full name; None when there is nothing to start."""

    package: str
    version_code: int
    version_name: str
    min_sdk: int
    target_sdk: int
    label: str | Reference | None
    icon: Reference | None
    permissions: tuple[str, ...]
    activity: str | None
    split: bool
    test_only: bool
    debuggable: bool


def read_manifest(data: bytes) -> Manifest:
    """Raises ApkRefused."""
    root: Element | None = None
    sdk: Element | None = None
    application: Element | None = None
    permissions: dict[str, None] = {}
    activities: list[_Activity] = []
    for element in elements(data):
        match element.path:
            case ("manifest",):
                root = root or element
            case ("manifest", "uses-sdk"):
                sdk = element
            case ("manifest", "uses-permission") if len(permissions) < _MOST_PERMISSIONS:
                permissions[_text(element, "name")[:_LONGEST_NAME]] = None
            case ("manifest", "application"):
                application = application or element
            case ("manifest", "application", "activity" | "activity-alias"):
                activities.append(_Activity(_text(element, "name")))
            case ("manifest", "application", "activity" | "activity-alias", "intent-filter", "action" | "category"):
                activities[-1].heard.add(_text(element, "name"))
            case _:
                pass
    if root is None:
        raise bad_manifest("The manifest says nothing")
    return _manifest(root, sdk, application, tuple(permissions), activities)


class _Activity:
    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: set[str] = set()


def _manifest(
    root: Element,
    sdk: Element | None,
    application: Element | None,
    permissions: tuple[str, ...],
    activities: list[_Activity],
) -> Manifest:
    package = _text(root, "package")
    if len(package) > _LONGEST_NAME or not _PACKAGE.fullmatch(package):
        raise ApkRefused(
            f"{package[:_LONGEST_NAME]!r} is not a package name", failure="INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME"
        )
    min_sdk = _number(sdk, "minSdkVersion", 1)
    icon = _value(application, "icon")
    label = _value(application, "label")
    started = next((activity.name for activity in activities if {_MAIN, _LAUNCHER} <= activity.heard), None)
    return Manifest(
        package=package,
        version_code=_number(root, "versionCodeMajor", 0) << 32 | _number(root, "versionCode", 0),
        version_name=shown(_text(root, "versionName")),
        min_sdk=min_sdk,
        target_sdk=_number(sdk, "targetSdkVersion", min_sdk),
        label=shown(label) if isinstance(label, str) else label if isinstance(label, Reference) else None,
        icon=icon if isinstance(icon, Reference) else None,
        permissions=permissions,
        activity=_full_name(package, started),
        split=bool(_text(root, "split")),
        test_only=_value(application, "testOnly") is True,
        debuggable=_value(application, "debuggable") is True,
    )


def _value(element: Element | None, name: str) -> Value:
    return element.attributes.get(name) if element else None


def _text(element: Element | None, name: str) -> str:
    value = _value(element, name)
    return value if isinstance(value, str) else ""


def _number(element: Element | None, name: str, default: int) -> int:
    """A preview's letter (`minSdkVersion="R"`) is above all numbers."""
    value = _value(element, name)
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else 10_000
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def shown(text: str) -> str:
    """As much of it as a screen shows, without control characters."""
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_TEXT].strip()


def _full_name(package: str, activity: str | None) -> str | None:
    if not activity:
        return None
    name = f"{package}{activity}" if activity.startswith(".") else activity
    return (name if "." in name else f"{package}.{name}")[: 2 * _LONGEST_NAME]
