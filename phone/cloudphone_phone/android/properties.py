"""System properties: those of the model, those of this run, and `persist.…`, which outlast it."""

from collections.abc import Mapping

from cloudphone_phone.model import Model

LONGEST_NAME, LONGEST_VALUE, MOST = 100, 91, 1000


class PropertyRefused(Exception):
    """Says why it cannot be set."""


class Properties:
    def __init__(self, model: Model, kept: dict[str, str]) -> None:
        """`kept` is changed in place, for its owner to save."""
        self._fixed = _of_model(model)
        self._kept = kept
        self._fleeting: dict[str, str] = {}

    def get(self, name: str) -> str:
        return self.all().get(name, "")

    def all(self) -> Mapping[str, str]:
        return {**self._kept, **self._fleeting, **self._fixed}

    def set(self, name: str, value: str) -> bool:
        """Whether there is something new to save. Raises PropertyRefused."""
        if name in self._fixed or name.startswith("ro."):
            raise PropertyRefused("it is read-only")
        if not name or len(name) > LONGEST_NAME or len(value) > LONGEST_VALUE:
            raise PropertyRefused("it is too long")
        if not is_text(name + value):
            raise PropertyRefused("it is no text")
        properties = self._kept if name.startswith("persist.") else self._fleeting
        if name not in properties and len(self._kept) + len(self._fleeting) >= MOST:
            raise PropertyRefused("there are too many")
        properties[name] = value
        return properties is self._kept

    def restart(self) -> None:
        """As after power on."""
        self._fleeting = {"init.svc.adbd": "running", "dev.bootcomplete": "0"}

    def completed(self) -> None:
        self._fleeting |= {"sys.boot_completed": "1", "dev.bootcomplete": "1", "init.svc.bootanim": "stopped"}


def is_text(given: str) -> bool:
    """Whether it can be written down: bytes that are no UTF-8 come in disguise."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_model(model: Model) -> dict[str, str]:
    fingerprint = f"cloudphone/{model.device}/{model.device}:{model.release}/CP1/1:user/release-keys"
    return {
        "ro.build.characteristics": "default",
        "ro.build.display.id": f"CP1.{model.sdk}",
        "ro.build.fingerprint": fingerprint,
        "ro.build.id": "CP1",
        "ro.build.type": "user",
        "ro.build.version.release": model.release,
        "ro.build.version.sdk": str(model.sdk),
        "ro.debuggable": "0",
        "ro.hardware": "cloudphone",
        "ro.product.brand": "cloudphone",
        "ro.product.cpu.abi": model.abis[0],
        "ro.product.cpu.abilist": ",".join(model.abis),
        "ro.product.device": model.device,
        "ro.product.manufacturer": "Cloudphone",
        "ro.product.model": model.name,
        "ro.product.name": f"cloudphone_{model.device}",
        "ro.secure": "1",
        "ro.serialno": model.serial,
        "ro.sf.lcd_density": str(model.density),
    }
