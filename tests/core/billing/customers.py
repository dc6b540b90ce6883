"""Customers who have bought something: money in the wallet, and orders taken through the use cases to where a test
wants them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.ledger.transfers import Posting
from cloudphone_core.billing.models import OrderAllocationRow
from cloudphone_core.billing.orders import service
from cloudphone_core.billing.orders.models import OrderRow
from cloudphone_core.billing.payments import wallet
from cloudphone_core.billing.payments.service import PaidOrder, open_payment
from cloudphone_shared.contracts.user import User
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World


async def fund(world: World, user: User, amount: int, currency: str = "USD") -> None:
    purse = transfers.wallet(user.tenant_id, user.id, currency)
    given = transfers.of_tenant(user.tenant_id, "goodwill", currency)
    async with world.database.writing() as session:
        await transfers.transfer(
            session, key=f"gift:{uuid7()}", kind="adjustment", reason="a gift", reference=None, actor="the test",
            postings=[Posting(purse, amount), Posting(given, -amount)], at=world.now,
        )  # fmt: skip


async def available(world: World, user: User, currency: str = "USD") -> int:
    rows = await world.rows(
        "SELECT available FROM billing.user_balances WHERE user_id = :user AND currency = :currency",
        user=user.id,
        currency=currency,
    )
    return rows[0].available if rows else 0


async def placed(world: World, user: User, plan: dict[str, Any], **fields: Any) -> UUID:
    order_id = uuid7()
    given: dict[str, Any] = {
        "coupon_code": None,
        "payment_method": "wallet",
        "auto_renew": True,
        "device": None,
        **fields,
    }
    async with world.database.writing() as session:
        await service.place(
            session, order_id=order_id, saga_id=uuid7(), payment_id=uuid7(), plan_id=UUID(plan["id"]), user=user,
            actor=str(user.id), at=world.now, **given,
        )  # fmt: skip
    return order_id


async def bought(world: World, user: User, plan: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Paid from the wallet, with a device that the scheduler gave; the completed order as its customer sees it."""
    order_id = await placed(world, user, plan, **fields)
    async with world.database.writing() as session:
        order = await session.get_one(OrderRow, order_id, with_for_update=True)
        await _paid(session, order, world.now)
        await service.begin_provisioning(session, order, world.now)
        device = world.owners.device(world.acme, user.id)
        session.add(
            OrderAllocationRow(
                order_id=order_id, state="held", deadline_at=world.now, device_id=device.id, allocation_id=uuid7(),
                fencing_token=7, updated_at=world.now,
            )
        )  # fmt: skip
        await service.bind_device(session, order, device.id, None, actor="scheduler", at=world.now)
        await service.mark_paid(session, order, world.now)
        await service.complete(session, order, world.now)
    return await shown(world, order_id)


async def _paid(session: Any, order: OrderRow, at: datetime) -> None:
    assert order.payment_id is not None
    whose = PaidOrder(id=order.id, tenant_id=order.tenant_id, user_id=order.user_id)
    await open_payment(
        session, payment_id=order.payment_id, order=whose, method="wallet", amount=order.amount,
        currency=order.currency, tax=order.tax, at=at,
    )  # fmt: skip
    await wallet.hold_in(session, order.payment_id, at)
    await wallet.capture_in(session, order.payment_id, at)


async def shown(world: World, order_id: UUID | str) -> dict[str, Any]:
    return (await world.ok("GET", f"/v1/orders/{order_id}", world.admin))["data"]
