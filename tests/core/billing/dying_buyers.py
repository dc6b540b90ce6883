"""Purchases whose process is killed: reads them from standard input, each with the number of the point at which a fork
kills itself, and tells how the fork ended; of one that nobody kills, how many points it passed."""

import asyncio
import os
import signal
import sys
from uuid import UUID

import msgspec

from cloudphone_core.billing.models import SCHEMA
from cloudphone_core.billing.payments.service import Payments
from cloudphone_core.billing.sagas import purchase
from cloudphone_core.billing.sagas.replies import hear_reply
from cloudphone_shared.database import Database
from cloudphone_shared.events.scheduler import DeviceAllocateReplied
from tests.core.owners import Owners
from tests.signing import Signer


class Errand(msgspec.Struct, kw_only=True):
    """`point` counts from 1; at 0 nobody is killed. `reply` is what the scheduler says."""

    point: int
    saga_id: UUID
    wanted: purchase.Wanted
    reply: DeviceAllocateReplied


async def run(database: Database, signer: Signer, errand: Errand) -> int:
    passed = 0

    async def die(point: str) -> None:
        nonlocal passed
        passed += 1
        if passed == errand.point:
            os.kill(os.getpid(), signal.SIGKILL)

    user = errand.wanted.user
    assert user is not None
    shop = purchase.Shop(
        Owners().clients(signer, "billing"), Payments(database, lambda: user.created_at), lambda: user.created_at
    )
    engine = purchase.purchases(database, shop, point=die)
    async with database.writing() as session:
        question = await purchase.start(engine, session, errand.saga_id, errand.wanted, user.tenant_id, b"")
    await die("started")
    await engine.drive(question)
    async with database.writing() as session:
        await hear_reply(session, errand.reply, user.created_at)
    await die("replied")
    await engine.take_due(errand.saga_id)
    await database.close()
    return passed


def main() -> None:
    signer, database = Signer(), Database(sys.argv[1], schema=SCHEMA, service="billing", pool_size=2)
    told = os.dup(sys.stdout.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for line in sys.stdin:
        errand = msgspec.json.decode(line, type=Errand)
        if errand.point == 0:
            # Whatever takes long is done here, once: the forks have it. Connections and threads are gone again.
            os.write(told, f"{asyncio.run(run(database, signer, errand))}\n".encode())
            continue
        child = os.fork()
        if child == 0:
            asyncio.run(run(database, signer, errand))
            os._exit(0)
        os.write(told, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())


if __name__ == "__main__":
    main()
