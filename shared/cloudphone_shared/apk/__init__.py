"""What an APK is: read from the file alone, in bounded memory and time, or refused with a sentence."""

from .reading import Apk, read_apk, read_icon
from .refusal import ApkRefused, Flaw

__all__ = ["Apk", "ApkRefused", "Flaw", "read_apk", "read_icon"]
