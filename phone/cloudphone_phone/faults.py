"""What can be made to go wrong with a phone, to see how those around it take it."""

import msgspec


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """None of them by default. A crash is no state but an event: `Phone.crash()`.

    - `boot_seconds`: from the next boot on, instead of the model's; infinite for a phone that hangs while booting
    - `offline`: adbd is stuck: takes connections and never answers
    - `unauthorized`: no key is accepted, as before somebody taps "Allow" on the screen
    - `disk_full`: no space is left, whatever is deleted
    - `install_failure`: each installation fails with this code, `INSTALL_FAILED_…`
    - `install_seconds`: each installation takes so much longer
    - `crash_on_install`: the phone crashes at the point where an installation would have been done
    """

    boot_seconds: float | None = None
    offline: bool = False
    unauthorized: bool = False
    disk_full: bool = False
    install_failure: str | None = None
    install_seconds: float = 0.0
    crash_on_install: bool = False


NO_FAULTS = Faults()
