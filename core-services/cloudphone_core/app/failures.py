"""Why an installation failed, in words: Android's codes, and those of the way there."""

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    "INSTALL_FAILED_INSUFFICIENT_STORAGE": "The phone has not enough room left for the app",
    "no_space": "The phone has not enough room left for the app's file",
    "INSTALL_FAILED_NO_MATCHING_ABIS": "The app has no native code for the phone's processor",
    "INSTALL_FAILED_OLDER_SDK": "The app needs a newer Android than the phone has",
    "INSTALL_FAILED_NEWER_SDK": "The app is for an older Android than the phone has",
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE": "The app on the phone was signed by somebody else: uninstall it first",
    "INSTALL_FAILED_VERSION_DOWNGRADE": "A higher version of the app is on the phone: uninstall it first",
    "INSTALL_FAILED_ALREADY_EXISTS": "The app is on the phone already",
    "INSTALL_FAILED_DUPLICATE_PACKAGE": "An app of this name is on the phone already",
    "INSTALL_FAILED_INVALID_APK": "The phone does not take the file for an app",
    "INSTALL_FAILED_TEST_ONLY": "The app is marked as test-only, and the phone does not install it",
    "INSTALL_FAILED_MISSING_SHARED_LIBRARY": "The app needs a library that the phone does not have",
    "INSTALL_FAILED_MISSING_FEATURE": "The app needs a feature that the phone does not have",
    "INSTALL_FAILED_MISSING_SPLIT": "The app is only one part of a split app",
    "INSTALL_FAILED_CONFLICTING_PROVIDER": "Another app on the phone provides the same content as this one",
    "INSTALL_FAILED_DEXOPT": "The phone could not prepare the app's code",
    "INSTALL_FAILED_VERIFICATION_FAILURE": "The phone's verifier refused the app",
    "INSTALL_FAILED_USER_RESTRICTED": "The phone's settings forbid installing",
    "INSTALL_FAILED_ABORTED": "The phone gave the installation up",
    "INSTALL_FAILED_INTERNAL_ERROR": "The phone's package manager failed",
    "INSTALL_PARSE_FAILED_NOT_APK": "The phone does not take the file for an app",
    "INSTALL_PARSE_FAILED_BAD_MANIFEST": "The app's manifest cannot be read",
    "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED": "The app's manifest is wrong",
    "INSTALL_PARSE_FAILED_NO_CERTIFICATES": "The app is not signed as the phone wants it",
    "INSTALL_PARSE_FAILED_INCONSISTENT_CERTIFICATES": "The app is signed in contradictory ways",
    "DELETE_FAILED_DEVICE_POLICY_MANAGER": "The app administers the phone and cannot be taken off",
    "DELETE_FAILED_INTERNAL_ERROR": "The phone's package manager failed",
    "device-not-running": "The phone is not running: start it, and try again",
    "device-gone": "The device is not there any longer",
    "device-reassigned": "The device has changed hands since it was asked for",
    "download-refused": "The app's file is not in the store",
    "download-damaged": "The app's file came damaged, again and again",
    "not-verified": "The phone says that it has installed the app, and does not have it",
    "deadline": "It took too long",
    "timed_out": "The device did not answer in time",
}


def sentence(code: str, otherwise: str) -> str:
    """`otherwise` is what whoever failed said of it."""
    return SENTENCES.get(code) or otherwise or code
