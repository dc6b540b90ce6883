"""What users say of apps, and an average that is right whoever writes at the same moment."""

import asyncio

import pytest

from cloudphone_shared.ids import uuid7
from tests.core.app.conftest import World

pytestmark = pytest.mark.anyio


async def test_many_at_once_write_change_and_withdraw_and_the_average_is_right(world: World) -> None:
    await world.open_connections()
    app = await world.app()
    path = f"/v1/apps/{app['id']}"
    people = [world.customer(uuid7(), world.acme) for _ in range(8)]

    async def say(number: int) -> None:
        for rating in (1, 1 + number % 5):
            await world.ok("POST", f"{path}/reviews", people[number], {"rating": rating, "text": f"{number}"})

    await asyncio.gather(*(say(number) for number in range(8)))
    reviews = (await world.ok("GET", f"{path}/reviews?limit=5", world.as_ana))["data"]
    assert len(reviews["items"]) == 5 and reviews["nextCursor"]
    mine = (await world.ok("POST", f"{path}/reviews", people[0], {"rating": 5}))["data"]
    app = (await world.ok("GET", path, world.as_ana))["data"]
    assert (app["reviews"], app["rating"]) == (8, round((5 + 2 + 3 + 4 + 5 + 1 + 2 + 3) / 8, 2))
    for who, status in ((people[1], 403), (world.staff(world.acme), 403), (people[0], 200), (people[0], 404)):
        assert (await world.client.delete(f"/v1/reviews/{mine['id']}", headers=who)).status_code == status
    assert (await world.ok("GET", path, world.as_ana))["data"]["reviews"] == 7
    by_rating = (await world.ok("GET", f"{path}/reviews?sort=-rating", world.as_ana))["data"]["items"]
    assert [each["rating"] for each in by_rating] == [5, 4, 3, 3, 2, 2, 1]
    for body in ({"rating": 0}, {"rating": 6}, {"rating": 5, "text": "x" * 2001}):
        assert (await world.client.post(f"{path}/reviews", headers=people[0], json=body)).status_code == 400


async def test_customers_see_what_is_published(world: World) -> None:
    app = await world.app(name="Zither", category="music")
    old, new = await world.version(app), await world.version(app, versionCode=2, versionName="2.0")
    path = f"/v1/apps/{app['id']}"
    await world.ok("POST", f"/v1/app-versions/{new['id']}/unpublish", world.admin)
    seen = (await world.ok("GET", f"{path}/versions", world.as_ana))["data"]
    assert [each["id"] for each in seen] == [old["id"]]
    assert len((await world.ok("GET", f"{path}/versions", world.admin))["data"]) == 2
    assert (await world.ok("GET", path, world.as_ana))["data"]["latestVersion"] == "1.0"
    counts = (await world.ok("GET", "/v1/apps/categories", world.as_ana))["data"]
    assert {"name": "music", "apps": 1} in counts
    await world.ok("POST", f"{path}/unpublish", world.admin)
    assert (await world.client.get(path, headers=world.as_ana)).status_code == 404
    await world.ok("POST", f"{path}/publish", world.admin)
    await world.ok("GET", path, world.as_ana)
    assert (await world.client.post(f"{path}/unpublish", headers=world.staff(world.acme))).status_code == 403
