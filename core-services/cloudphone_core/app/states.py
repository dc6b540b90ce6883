"""An installation's table of states, as data."""

from collections.abc import Mapping

from cloudphone_shared.contracts.app import InstallationState
from cloudphone_shared.errors import StateConflict

STEPS: Mapping[InstallationState, tuple[InstallationState, ...]] = {
    "pending": ("downloading", "failed", "cancelled"),
    "downloading": ("transferring", "failed", "cancelled"),
    "transferring": ("installing", "failed", "cancelled"),
    "installing": ("verifying", "failed", "cancelled"),
    "verifying": ("installed", "failed", "cancelled"),
    "installed": ("uninstalling",),
    "uninstalling": ("uninstalled", "failed"),
    "uninstalled": (),
    "failed": (),
    "cancelled": (),
}
TERMINAL: frozenset[InstallationState] = frozenset(state for state, following in STEPS.items() if not following)
UNDER_WAY: frozenset[InstallationState] = frozenset(
    {"pending", "downloading", "transferring", "installing", "verifying"}
)
STANDING: frozenset[InstallationState] = frozenset({"installed", "uninstalling"})
ORDER: Mapping[InstallationState, int] = {state: place for place, state in enumerate(STEPS)}
"""How far each state is on the way."""
HIDDEN: frozenset[InstallationState] = frozenset({"uninstalled", "cancelled"})
"""What a device's list leaves out."""
OF_CUSTOMERS: frozenset[InstallationState] = frozenset({"uninstalling", "cancelled"})
"""The steps a customer asks for; the others are the platform's to report."""
WITHOUT_ITS_VOLUME: Mapping[InstallationState, tuple[InstallationState, ...]] = {
    "installed": ("uninstalling", "uninstalled"),
    "uninstalling": ("uninstalled",),
    **{state: ("cancelled",) for state, following in STEPS.items() if "cancelled" in following},
}
"""The way to the end of an installation whose device lost its volume."""


def check_step(present: InstallationState, wanted: InstallationState) -> None:
    """Raises StateConflict with `current_state` and `allowed` for a step that the table does not have."""
    if wanted not in STEPS[present]:
        raise StateConflict(
            f"An installation that is {present} cannot become {wanted}",
            current_state=present,
            allowed=list(STEPS[present]),
        )
