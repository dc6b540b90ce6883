"""An order's table of states, as data."""

from collections.abc import Mapping

from cloudphone_shared.contracts.billing import OrderState
from cloudphone_shared.errors import StateConflict

STEPS: Mapping[OrderState, tuple[OrderState, ...]] = {
    "pending": ("provisioning", "cancelled", "expired"),
    "provisioning": ("paid", "compensating"),
    "paid": ("completed",),
    "completed": ("refunding",),
    "compensating": ("cancelled", "failed"),
    "refunding": ("refunded",),
    "cancelled": (),
    "expired": (),
    "failed": (),
    "refunded": (),
}


def check_step(present: OrderState, wanted: OrderState) -> None:
    """Raises StateConflict with `current_state` and `allowed` for a step that the table does not have."""
    if wanted not in STEPS[present]:
        raise StateConflict(
            f"An order that is {present} cannot become {wanted}", current_state=present, allowed=list(STEPS[present])
        )
