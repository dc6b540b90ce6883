"""What kind of phone it is."""

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults make a small Android 13 phone. `abis`: the preferred one first. Sizes in bytes, screens in dots."""

    serial: str = "CLOUDPHONE"
    name: str = "CloudPhone 1"
    device: str = "cp1"
    sdk: int = 33
    release: str = "13"
    abis: tuple[str, ...] = ("x86_64", "arm64-v8a", "x86", "armeabi-v7a")
    width: int = 720
    height: int = 1280
    density: int = 320
    cores: int = 4
    memory_bytes: int = 4 << 30
    storage_bytes: int = 16 << 30
    boot_seconds: float = 2.0
    """From power on to `sys.boot_completed`."""
