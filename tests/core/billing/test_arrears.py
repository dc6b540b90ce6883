"""Who owes is noted once and told; nobody notes it for another tenant's users."""

import anyio
import pytest

from tests.core.billing.conftest import World

pytestmark = pytest.mark.anyio


async def told(world: World, user_id: object) -> list[str]:
    rows = await world.rows(
        "SELECT type FROM billing.outbox WHERE type LIKE 'arrears.%' AND payload ->> 'userId' = :user ORDER BY id",
        user=str(user_id),
    )
    return [row[0] for row in rows]


async def test_arrears_begin_and_end_once_and_are_told(world: World) -> None:
    path = f"/v1/users/{world.ana.id}/arrears"
    for _ in range(2):
        noted = await world.ok("PUT", path, world.admin, {"reason": "two invoices are open"})
        assert noted["data"]["reason"] == "two invoices are open"
    assert (await world.ok("GET", path, world.admin))["data"]["userId"] == str(world.ana.id)
    listed = await world.ok("GET", "/v1/arrears", world.admin)
    assert str(world.ana.id) in {one["userId"] for one in listed["data"]["items"]}
    for _ in range(2):
        await world.ok("DELETE", path, world.admin)
    assert (await world.ok("GET", path, world.admin))["data"] is None
    assert await told(world, world.ana.id) == ["arrears.began", "arrears.ended"]


async def test_of_several_who_note_it_at_once_none_fails(world: World) -> None:
    await world.open_connections()
    bob = world.owners.user(world.acme)
    answers: list[int] = []

    async def note(reason: str) -> None:
        path = f"/v1/users/{bob.id}/arrears"
        answers.append((await world.client.put(path, headers=world.admin, json={"reason": reason})).status_code)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(note, f"reason {number}")
    assert answers == [200] * 4


async def test_a_foreign_tenants_user_and_a_customer_are_refused(world: World) -> None:
    path, reason = f"/v1/users/{world.ana.id}/arrears", {"reason": "envy"}
    foreign = world.staff(world.rival)
    assert (await world.client.put(path, headers=foreign, json=reason)).status_code == 404
    assert (await world.client.put(path, headers=world.as_ana, json=reason)).status_code == 403
    assert (await world.ok("GET", "/v1/arrears", foreign))["data"]["items"] == []
    await world.ok("PUT", path, world.admin, reason)
    assert (await world.client.delete(path, headers=foreign)).status_code == 404
    assert (await world.ok("GET", path, world.admin))["data"] is not None
