"""How an APK is refused: a sentence for people, and the code that an Android device gives for the same reason."""

from typing import Any, ClassVar, Literal

from cloudphone_shared.errors import Invalid

Flaw = Literal[
    "INSTALL_PARSE_FAILED_NOT_APK",
    "INSTALL_PARSE_FAILED_BAD_MANIFEST",
    "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME",
    "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED",
    "INSTALL_PARSE_FAILED_NO_CERTIFICATES",
    "INSTALL_FAILED_INVALID_APK",
]


class ApkRefused(Invalid):
    """`failure`, also among the members, is Android's word for it."""

    status: ClassVar[int] = 422
    code: ClassVar[str] = "apk-refused"
    title: ClassVar[str] = "The file is not an APK that can be installed"

    def __init__(self, detail: str = "", *, failure: Flaw = "INSTALL_FAILED_INVALID_APK", **members: Any) -> None:
        super().__init__(detail, failure=failure, **members)
        self.failure: Flaw = failure


def not_an_apk(detail: str) -> ApkRefused:
    return ApkRefused(detail, failure="INSTALL_PARSE_FAILED_NOT_APK")


def bad_manifest(detail: str) -> ApkRefused:
    return ApkRefused(detail, failure="INSTALL_PARSE_FAILED_BAD_MANIFEST")


def not_certified(detail: str) -> ApkRefused:
    return ApkRefused(detail, failure="INSTALL_PARSE_FAILED_NO_CERTIFICATES")
