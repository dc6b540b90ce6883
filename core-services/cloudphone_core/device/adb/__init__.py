"""Phones, asked through an adb server.

adb = Adb(("127.0.0.1", 5037))
await adb.connect("127.0.0.1:40001")
said = await adb.shell("127.0.0.1:40001", ["getprop", "ro.product.model"])
"""

from .adb import Adb, State, open_adb
from .errors import AdbServerAway, PhoneAway, PhoneRefused
from .packages import InstalledPackage
from .shell import ShellAnswer
from .sync import Entry
from .vitals import PhoneVitals

__all__ = [
    "Adb",
    "AdbServerAway",
    "Entry",
    "InstalledPackage",
    "PhoneAway",
    "PhoneRefused",
    "PhoneVitals",
    "ShellAnswer",
    "State",
    "open_adb",
]
