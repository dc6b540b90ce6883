"""What the scheduler, or a payment's provider, said: the saga that waits for it is woken."""

from datetime import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.events.scheduler import DeviceAllocateReplied

from .. import allocation
from ..payments.models import PaymentRow
from .models import SagaRow
from .runner import wake

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def hear_reply(session: AsyncSession, reply: DeviceAllocateReplied, at: datetime) -> None:
    """Notes the device, or why there is none, for the saga that asked for it.

    A device that nobody waits for any more is given back with its token.
    """
    saga = await session.get(SagaRow, reply.saga_id, with_for_update=True)
    asked = await allocation.of_order(session, (saga and saga.order_id) or reply.saga_id)
    waits = saga is not None and saga.state in ("running", "waiting")
    if saga is not None and asked is not None and waits and asked.state == "requested":
        if reply.success and (reply.device_id is None or reply.allocation_id is None or reply.fencing_token is None):
            log.error("allocation_reply_incomplete", saga_id=str(reply.saga_id))
            return
        asked.state, asked.updated_at = "held" if reply.success else "failed", at
        asked.device_id, asked.allocation_id = reply.device_id, reply.allocation_id
        asked.fencing_token = reply.fencing_token
        saga.data = {**saga.data, "no_device": reply.failure_reason, "found": reply.device_id and str(reply.device_id)}
        await wake(session, saga.id)
    elif reply.device_id is None or reply.allocation_id is None or reply.fencing_token is None:
        return
    elif asked is None or asked.state != "held" or asked.allocation_id != reply.allocation_id:
        reason = "nobody waits for it" if saga is None else f"the purchase is {saga.state}"
        await allocation.release(
            session, reply.device_id, reply.allocation_id, reply.fencing_token, reason, reply.tenant_id
        )


async def hear_payment(session: AsyncSession, payment: PaymentRow) -> None:
    """A payment's outcome may have become known.

    The saga is locked: one that is just about to wait does so before, and is woken, or sees the payment as it is then.
    """
    if payment.order_id is not None:
        waiting = sa.select(SagaRow.id).where(SagaRow.order_id == payment.order_id).with_for_update()
        for saga_id in (await session.scalars(waiting)).all():
            await wake(session, saga_id)
