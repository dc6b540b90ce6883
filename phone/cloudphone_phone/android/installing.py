"""May it be installed: what Android checks, in its order, with its codes."""

from cloudphone_phone.model import Model
from cloudphone_phone.volume import Package
from cloudphone_shared.apk import Apk


class InstallRefused(Exception):
    """`code` as Android gives it, `INSTALL_…` or `DELETE_…`; `detail` the sentence behind it."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


def check(apk: Apk, present: Package | None, model: Model, *, downgrade: bool, test: bool, replace: bool) -> str | None:
    """The ABI whose native code will run, None when there is none to run. Raises InstallRefused."""
    if apk.split:
        raise InstallRefused("INSTALL_FAILED_MISSING_SPLIT", f"Missing split for {apk.package}")
    if apk.min_sdk > model.sdk:
        raise InstallRefused(
            "INSTALL_FAILED_OLDER_SDK", f"Requires newer sdk version #{apk.min_sdk} (current version is #{model.sdk})"
        )
    if apk.test_only and not test:
        raise InstallRefused("INSTALL_FAILED_TEST_ONLY", "installPackageLI")
    abi = next((abi for abi in model.abis if abi in apk.abis), None)
    if apk.abis and abi is None:
        raise InstallRefused("INSTALL_FAILED_NO_MATCHING_ABIS", "Failed to extract native libraries, res=-113")
    if present is not None:
        _check_update(apk, present, downgrade=downgrade, replace=replace)
    return abi


def _check_update(apk: Apk, present: Package, *, downgrade: bool, replace: bool) -> None:
    if not replace:
        raise InstallRefused(
            "INSTALL_FAILED_ALREADY_EXISTS",
            f"Attempt to re-install {apk.package} without first uninstalling.",
        )
    if set(apk.signers) != set(present.signers):
        raise InstallRefused(
            "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
            f"Existing package {apk.package} signatures do not match newer version; ignoring!",
        )
    if apk.version_code < present.version_code and not downgrade:
        raise InstallRefused(
            "INSTALL_FAILED_VERSION_DOWNGRADE",
            f"Downgrade detected: Update version code {apk.version_code} is older than current {present.version_code}",
        )
