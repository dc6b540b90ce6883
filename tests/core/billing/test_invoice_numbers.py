"""Numbers have no gaps and months no second invoice, though many issue at once, some give up, and workers die."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from cloudphone_core.billing.invoices.bill_to import Customer
from cloudphone_core.billing.invoices.issuing import Occasion, issue
from cloudphone_core.billing.invoices.rounds import Timing, issue_last_month
from cloudphone_core.billing.rating.rounds import rate_due
from tests.core.billing.conftest import World
from tests.core.billing.invoicing import Shopper

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """What a worker's process feels: no handler runs, no commit comes."""


async def numbers(world: World) -> list[str]:
    sql = "SELECT number FROM billing.invoices WHERE tenant_id = :tenant ORDER BY number"
    return [row[0] for row in await world.rows(sql, tenant=world.acme)]


async def test_numbers_have_no_gaps_though_many_issue_at_once_and_some_give_up(world: World) -> None:
    shoppers = [Shopper(world) for _ in range(8)]
    for shopper in shoppers:
        await shopper.buy(100)
    await world.open_connections()
    until = world.now + timedelta(seconds=1)

    async def try_to(shopper: Shopper, *, give_up: bool) -> None:
        who = Customer(tenant_id=world.acme, user_id=shopper.id)
        try:
            async with world.database.writing() as session:
                [invoice] = await issue(session, who, until, Occasion(actor="test", at=until))
                assert invoice.sequence
                if give_up:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    async with anyio.create_task_group() as tasks:
        for number, shopper in enumerate(shoppers):
            tasks.start_soon(lambda s=shopper, n=number: try_to(s, give_up=n % 3 == 0))
    for shopper in shoppers:
        await shopper.issue()
    assert await numbers(world) == [f"INV-2026-{number:06}" for number in range(1, 9)]


async def test_of_two_who_issue_for_one_customer_at_once_one_finds_nothing_left(world: World) -> None:
    ana, device = Shopper(world), world.owners.device(world.acme)
    await ana.subscribe(device.id, rate=60, price=500)
    await ana.run(device.id, 1, 3)
    world.now += timedelta(hours=4)
    await world.open_connections()
    found: list[int] = []

    async def try_to() -> None:
        body = {"userId": str(ana.id)}
        found.append(len((await world.ok("POST", "/v1/invoices", world.admin, body))["data"]))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(try_to)
    assert sorted(found) == [0, 0, 0, 1]


def dies(where: str, after: int) -> Callable[[str], Awaitable[None]]:
    """At the `after`-th time that the work gets there."""
    left = [after]

    async def point(name: str) -> None:
        if name == where:
            left[0] -= 1
            if not left[0]:
                raise Killed

    return point


async def test_a_month_is_invoiced_once_though_workers_race_and_die_in_the_middle(world: World) -> None:
    world.now = datetime(2026, 2, 10, tzinfo=UTC)
    shoppers = [Shopper(world) for _ in range(6)]
    for shopper in shoppers:
        device = world.owners.device(world.acme)
        await shopper.subscribe(device.id, rate=60, price=700)
        await shopper.run(device.id, 1, random.Random(7).randint(2, 9))
    late, device = shopper, device
    world.now = datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert await issue_last_month(world.database, world.now) == 0
    world.now += timedelta(hours=2)
    for where, after in (("issued", 2), ("committed", 2)):
        with pytest.raises(Killed):
            await issue_last_month(world.database, world.now, point=dies(where, after))
    done = [0, 0]

    async def work(number: int) -> None:
        while found := await issue_last_month(world.database, world.now):
            done[number] += found

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, 0)
        tasks.start_soon(work, 1)
    while await rate_due(world.database):
        pass
    assert await issue_last_month(world.database, world.now) == 0
    for shopper in shoppers:
        [invoice] = await shopper.invoices()
        assert invoice["periodEnd"] == "2026-03-01T00:00:00Z" and invoice["total"] > 700
    assert await numbers(world) == [f"INV-2026-{number:06}" for number in range(1, 7)]
    finished = await world.rows("SELECT finished_at FROM billing.invoice_runs WHERE month = '2026-02-01'")
    assert finished == [(world.now,)]
    world.now = datetime(2026, 2, 20, tzinfo=UTC)
    await late.run(device.id, 1, 2)
    while await rate_due(world.database):
        pass
    world.now = datetime(2026, 3, 2, tzinfo=UTC)
    assert await issue_last_month(world.database, world.now, Timing(after=timedelta())) == 0
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    assert await issue_last_month(world.database, world.now) == 1
    assert len(await late.invoices()) == 2
