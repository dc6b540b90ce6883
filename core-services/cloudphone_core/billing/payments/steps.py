"""The steps of payments and refunds: each changes the row, notes why, and announces it, in the caller's transaction.

Whoever takes one holds the payment's row, so that no two act on the same figures. `announcing`: a list that the caller
announces with its own; without it each step announces at once.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared import entities
from cloudphone_shared.contracts.payment import PaymentPurpose, PaymentState, RefundState
from cloudphone_shared.contracts.purchase import PaymentMethod
from cloudphone_shared.database.outbox import Announcement, announce_all
from cloudphone_shared.errors import DomainError, NotFound
from cloudphone_shared.events.billing import PaymentChanged, PaymentCompleted, RefundChanged

from .models import PaymentEventRow, PaymentRow, RefundRow

Announcing = list[Announcement]


class PaidOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money is wanted, and for which order."""

    id: UUID
    tenant_id: UUID
    user_id: UUID


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Where a payment stands after it was asked for. `action`: the customer has to pay at `checkout_url`; `unknown`:
    nobody knows yet, and reconciliation will find out; `refusal`: what to answer the customer when `refused`."""

    state: Literal["held", "action", "captured", "voided", "refused", "unknown"]
    checkout_url: str | None = None
    failure: str | None = None
    refusal: DomainError | None = None


async def opened(
    session: AsyncSession,
    *,
    payment_id: UUID,
    tenant_id: UUID,
    user_id: UUID,
    purpose: PaymentPurpose,
    order_id: UUID | None,
    method: PaymentMethod,
    amount: int,
    currency: str,
    tax: int,
    at: datetime,
    announcing: Announcing | None = None,
) -> PaymentRow:
    payment = PaymentRow(
        id=payment_id, tenant_id=tenant_id, user_id=user_id, purpose=purpose, order_id=order_id, method=method,
        amount=amount, tax=tax, captured=0, refunding=0, refunded=0, currency=currency, state="pending", held=False,
        attempt=0, looks=0, steps=0, created_at=at, updated_at=at,
    )  # fmt: skip
    session.add(payment)
    await session.flush()
    await note(session, payment, "pending", "opened", at, announcing)
    return payment


async def locked(session: AsyncSession, payment_id: UUID) -> PaymentRow:
    """As it is now. Raises NotFound."""
    statement = select(PaymentRow).where(PaymentRow.id == payment_id).with_for_update()
    payment = await session.scalar(statement.execution_options(populate_existing=True))
    if payment is None:
        raise NotFound("There is no such payment")
    return payment


async def note(
    session: AsyncSession,
    payment: PaymentRow,
    state: PaymentState,
    reason: str,
    at: datetime,
    announcing: Announcing | None = None,
    *,
    moved: Sequence[Announcement] = (),
) -> None:
    """The next state of `payment`, announced after what was `moved` for it."""
    old, payment.state, payment.updated_at = payment.state, state, at
    payment.steps += 1
    session.add(PaymentEventRow(payment_id=payment.id, number=payment.steps, state=state, reason=reason, at=at))
    changed = PaymentChanged(
        payment_id=payment.id, user_id=payment.user_id, order_id=payment.order_id, old_state=old, new_state=state,
        reason=reason, tenant_id=payment.tenant_id,
    )  # fmt: skip
    completed = PaymentCompleted(
        payment_id=payment.id, user_id=payment.user_id, purpose=payment.purpose, order_id=payment.order_id,
        method=payment.method, amount=payment.amount, currency=payment.currency, tenant_id=payment.tenant_id,
    )  # fmt: skip
    told = completed if state == "success" and old != "success" else changed
    await _announce(session, [*moved, Announcement(event=told, entities=_shown(payment))], announcing)


async def captured(
    session: AsyncSession,
    payment: PaymentRow,
    reason: str,
    at: datetime,
    announcing: Announcing | None = None,
    *,
    moved: Sequence[Announcement] = (),
) -> None:
    payment.captured, payment.held, payment.failure = payment.amount, False, None
    _over(payment)
    await note(session, payment, "success", reason, at, announcing, moved=moved)


async def failed(
    session: AsyncSession,
    payment: PaymentRow,
    failure: str,
    at: datetime,
    announcing: Announcing | None = None,
    *,
    moved: Sequence[Announcement] = (),
) -> None:
    """Nothing was taken, and nothing will be."""
    payment.held, payment.failure = False, failure
    _over(payment)
    await note(session, payment, "failed", failure, at, announcing, moved=moved)


def answered(payment: PaymentRow) -> None:
    """What the provider was asked is known now."""
    payment.asked = payment.asked_at = None
    payment.looks = 0


def by_provider(payment: PaymentRow) -> bool:
    """Nobody is asked for nothing."""
    return payment.method == "card" and payment.amount > 0


def standing(payment: PaymentRow) -> Held:
    if payment.state == "success":
        return Held(state="captured")
    if payment.state == "failed":
        return Held(state="voided" if payment.given_up_at is not None else "refused", failure=payment.failure)
    if payment.state == "unknown" or payment.asked is not None or payment.given_up_at is not None:
        return Held(state="unknown", failure=payment.failure)
    if payment.held:
        return Held(state="held")
    return Held(state="action", checkout_url=payment.checkout_url, failure=payment.failure)


async def refund_step(
    session: AsyncSession,
    payment: PaymentRow,
    refund: RefundRow,
    state: RefundState,
    at: datetime,
    *,
    moved: Sequence[Announcement] = (),
) -> None:
    refund.state, refund.updated_at = state, at
    told = RefundChanged(
        refund_id=refund.id, payment_id=payment.id, order_id=refund.order_id, user_id=refund.user_id,
        amount=refund.amount, currency=refund.currency, state=state, tenant_id=refund.tenant_id,
    )  # fmt: skip
    await announce_all(session, [*moved, Announcement(event=told, entities=_shown(payment))])


def _over(payment: PaymentRow) -> None:
    answered(payment)
    payment.next_look_at = payment.expires_at = payment.checkout_url = None


async def _announce(
    session: AsyncSession, announcements: Sequence[Announcement], announcing: Announcing | None
) -> None:
    if announcing is None:
        await announce_all(session, announcements)
    else:
        announcing.extend(announcements)


def _shown(payment: PaymentRow) -> list[str]:
    return [entities.payment(payment.id), entities.payments_of(payment.user_id)]
