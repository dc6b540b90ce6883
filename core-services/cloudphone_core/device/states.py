"""The life of a device as data: which state may follow which. Nothing else may."""

from collections.abc import Mapping

from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.errors import StateConflict

TRANSITIONS: Mapping[DeviceState, frozenset[DeviceState]] = {
    "creating": frozenset({"idle", "error"}),
    "idle": frozenset({"allocated", "deleting", "maintenance"}),
    "allocated": frozenset({"starting", "cleaning", "deleting"}),
    "starting": frozenset({"running", "error", "stopping"}),
    "running": frozenset({"stopping", "rebooting", "resetting", "error"}),
    "stopping": frozenset({"stopped", "error"}),
    "stopped": frozenset({"starting", "resetting", "backing_up", "restoring", "cleaning", "deleting", "frozen"}),
    "rebooting": frozenset({"running", "stopped", "error"}),
    "resetting": frozenset({"running", "stopped", "error"}),
    "backing_up": frozenset({"stopped", "error"}),
    "restoring": frozenset({"stopped", "error"}),
    "frozen": frozenset({"stopped", "cleaning", "deleting"}),
    "cleaning": frozenset({"idle", "error"}),
    "maintenance": frozenset({"idle", "deleting"}),
    "error": frozenset({"cleaning", "stopping", "starting", "deleting"}),
    "deleting": frozenset({"deleted", "error"}),
    "deleted": frozenset(),
}


def check_transition(current: DeviceState, to: DeviceState) -> None:
    """Raises StateConflict."""
    if to not in TRANSITIONS[current]:
        raise refusal(current, to)


def refusal(current: DeviceState, to: DeviceState, unless: str = "") -> StateConflict:
    """`current_state` and `allowed` say what would have been possible."""
    allowed = sorted(TRANSITIONS[current])
    detail = f"A device that is {current} cannot become {to}" + (f", {unless}" if unless else "")
    return StateConflict(detail, current_state=current, allowed=allowed)
