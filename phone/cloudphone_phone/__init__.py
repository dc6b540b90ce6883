"""A phone in Python: Android as far as a cloud sees it, behind the real adbd wire protocol.

    phone = Phone(Path("volume"), model=Model(serial="A1"))
    await phone.start()                     # listens at phone.address; boots
    await phone.until("running")            # sys.boot_completed is 1
    await phone.inflict(Faults(offline=True))
    await phone.stop()

A `Farm` keeps many of them by name, over restarts; `RemoteFarm` asks one in another process. Of the platform they know
only how to read an APK. A phone is no process: one event loop carries hundreds.
"""

from .control import FarmAway, RemoteFarm, controlled
from .farm import Farm, FarmRefused, Labelled, Phones, Plan, Status
from .faults import Faults
from .model import Model
from .phone import Phone, State
from .volume import Copied, VolumeUnusable, copy_volume

__all__ = [
    "Copied",
    "Farm",
    "FarmAway",
    "FarmRefused",
    "Faults",
    "Labelled",
    "Model",
    "Phone",
    "Phones",
    "Plan",
    "RemoteFarm",
    "State",
    "Status",
    "VolumeUnusable",
    "controlled",
    "copy_volume",
]
