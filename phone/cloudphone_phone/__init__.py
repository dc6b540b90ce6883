"""A phone in Python: Android as far as a cloud sees it, behind the real adbd wire protocol.

    phone = Phone(Path("volume"), model=Model(serial="A1"))
    await phone.start()                     # listens at phone.address; boots
    await phone.until("running")            # sys.boot_completed is 1
    await phone.inflict(Faults(offline=True))
    await phone.stop()

Of the platform it knows only how to read an APK. A phone is no process: one event loop carries hundreds.
"""

from .faults import Faults
from .model import Model
from .phone import Phone, State
from .volume import Volume, VolumeUnusable

__all__ = ["Faults", "Model", "Phone", "State", "Volume", "VolumeUnusable"]
