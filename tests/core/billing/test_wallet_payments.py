"""Money for an order is set aside in the wallet, taken, or given back; what was taken can be refunded, once."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting
from cloudphone_core.billing.payments import wallet
from cloudphone_core.billing.payments.models import PaymentRow
from cloudphone_core.billing.payments.refunds import request_refund
from cloudphone_core.billing.payments.service import PaidOrder, Payments, open_payment
from cloudphone_shared.errors import Conflict, InsufficientFunds, StateConflict
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World

pytestmark = pytest.mark.anyio


async def give(world: World, amount: int) -> None:
    purse = transfers.wallet(world.acme, world.ana.id, "USD")
    async with world.database.writing() as session:
        await transfers.transfer(
            session, key=f"gift:{uuid7()}", kind="adjustment",
            postings=[Posting(purse, amount), Posting(transfers.of_tenant(world.acme, "goodwill", "USD"), -amount)],
            reason="a gift", reference=None, actor="test", at=world.now,
        )  # fmt: skip


async def opened(world: World, amount: int = 2000, tax: int = 319, method: str = "wallet") -> UUID:
    order = PaidOrder(id=uuid7(), tenant_id=world.acme, user_id=world.ana.id)
    async with world.database.writing() as session:
        payment = await open_payment(
            session, payment_id=uuid7(), order=order, method=method, amount=amount, currency="USD",  # type: ignore[arg-type]
            tax=tax, at=world.now,
        )  # fmt: skip
        return payment.id


def payments_of(world: World) -> Payments:
    return Payments(world.database, lambda: world.now)


async def funds(world: World) -> tuple[int, int]:
    rows = await world.rows(
        "SELECT balance, held FROM billing.accounts WHERE owner_id = :user AND kind = 'wallet'", user=world.ana.id
    )
    return tuple(rows[0])


async def booked(world: World, kind: str) -> int:
    [(total,)] = await world.rows(
        "SELECT coalesce(sum(e.amount), 0) FROM billing.entries AS e JOIN billing.accounts AS a ON a.id = e.account_id"
        " WHERE a.tenant_id = :tenant AND a.kind = :kind",
        tenant=world.acme, kind=kind,
    )  # fmt: skip
    return int(total)


async def test_what_is_held_is_captured_once_and_refunded_to_the_cent_with_its_tax(world: World) -> None:
    await give(world, 5000)
    payments, payment_id = payments_of(world), await opened(world)
    assert (await payments.hold(payment_id)).state == "held"
    assert (await payments.hold(payment_id)).state == "held"
    assert await funds(world) == (5000, 2000)
    assert (await payments.capture(payment_id)).state == "captured"
    assert (await payments.capture(payment_id)).state == "captured"
    assert await funds(world) == (3000, 0)
    assert (await booked(world, "revenue"), await booked(world, "tax")) == (1681, 319)
    with pytest.raises(StateConflict):
        await payments.void(payment_id)

    async def refund(session: AsyncSession, amount: int) -> str:
        payment = await session.get_one(PaymentRow, payment_id)
        return (await request_refund(session, payment, amount, "unhappy", "admin", world.now)).state

    for amount in (1, 999, 500, 500):
        async with world.database.writing() as session:
            assert await refund(session, amount) == "success"
    assert await funds(world) == (5000, 0)
    assert (await booked(world, "revenue"), await booked(world, "tax")) == (0, 0)
    for amount in (1, 0, -5):
        async with world.database.writing() as session:
            with pytest.raises(Conflict):
                await refund(session, amount)
    shown = (await world.ok("GET", f"/v1/payments/{payment_id}", world.as_ana))["data"]
    assert (shown["state"], shown["refunded"], shown["held"]) == ("success", 2000, False)
    assert [event["state"] for event in shown["history"]] == ["pending", "processing", "success"]
    refunds = (await world.ok("GET", f"/v1/refunds?paymentId={payment_id}", world.as_ana))["data"]["items"]
    assert sorted(one["amount"] for one in refunds) == [1, 500, 500, 999]


async def test_what_is_voided_is_free_again_and_cannot_be_captured(world: World) -> None:
    await give(world, 2000)
    payments, first, second = payments_of(world), await opened(world), await opened(world)
    assert (await payments.hold(first)).state == "held"
    refused = await payments.hold(second)
    assert (refused.state, refused.failure) == ("refused", "insufficient-funds")
    assert isinstance(refused.refusal, InsufficientFunds)
    assert (await payments.void(first)).state == "voided"
    assert (await payments.void(first)).state == "voided"
    assert await funds(world) == (2000, 0)
    assert (await payments.capture(first)).state == "voided"
    assert (await payments.hold(second)).state == "refused"


async def test_refunds_at_the_same_time_never_take_more_than_was_paid(world: World) -> None:
    await give(world, 2000)
    payments, payment_id = payments_of(world), await opened(world)
    await payments.hold(payment_id)
    await payments.capture(payment_id)
    await world.open_connections()

    async def refund() -> bool:
        try:
            async with world.database.writing() as session:
                payment = await session.get_one(PaymentRow, payment_id)
                await request_refund(session, payment, 600, "unhappy", "admin", world.now)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(refund() for _ in range(6)))) == 3
    assert await funds(world) == (1800, 0)


async def test_what_costs_nothing_needs_no_money(world: World) -> None:
    for method in ("wallet", "card"):
        payments, payment_id = payments_of(world), await opened(world, amount=0, tax=0, method=method)
        assert (await payments.hold(payment_id)).state == "held"
        assert (await payments.capture(payment_id)).state == "captured"


async def test_a_saga_s_step_and_its_money_are_one_transaction(world: World) -> None:
    await give(world, 2000)
    payment_id = await opened(world)
    with pytest.raises(ZeroDivisionError):
        async with world.database.writing() as session:
            await wallet.hold_in(session, payment_id, world.now)
            raise ZeroDivisionError
    assert await funds(world) == (2000, 0)


async def test_payments_are_shown_to_who_may_see_them(world: World) -> None:
    payment_id = await opened(world)
    stranger, rival = world.customer(uuid7(), world.acme), world.staff(world.rival)
    for who, sees in ((world.as_ana, True), (world.staff(world.acme), True), (stranger, False), (rival, False)):
        answer = await world.client.get(f"/v1/payments/{payment_id}", headers=who)
        assert answer.status_code == (200 if sees else 404)
        for path in (f"/v1/payments?userId={world.ana.id}", f"/v1/refunds?userId={world.ana.id}"):
            found = (await world.ok("GET", path, who))["data"]["items"]
            assert [one["id"] for one in found] == ([str(payment_id)] if sees and "refunds" not in path else [])
