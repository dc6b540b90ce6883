"""Who holds a device: three services in one answer."""

import pytest

from tests.bff_admin.conftest import Console
from tests.in_process import Services

pytestmark = pytest.mark.anyio


async def test_the_holder_is_shown_and_followed_from_one_to_the_next(console: Console, services: Services) -> None:
    ana, ben = await services.user("Ana"), await services.user("Ben")
    device = await services.device("Pixel", owner=ana)
    path = f"/admin/devices/{device['id']}"
    assert (await console.seen(f"{path}/holder"))["holder"]["name"] == "Ana"
    assert (await console.ask("POST", f"{path}/unassign")).status_code == 200
    assert (await console.seen(f"{path}/holder"))["holder"] is None
    assert (await console.ask("POST", f"{path}/assign", {"ownerId": ben["id"]})).status_code == 200
    assert (await console.seen(f"{path}/holder"))["holder"]["name"] == "Ben"


async def test_its_proven_hit_is_not_mistaken_for_the_devices_own_screen(console: Console, services: Services) -> None:
    device = await services.device("Pixel", owner=await services.user("Ana"))
    path = f"/admin/devices/{device['id']}"
    for _ in range(2):
        assert set(await console.seen(path)) == {"device", "owner", "applications", "usage", "operation"}
        assert set(await console.seen(f"{path}/holder")) == {"device", "holder", "balance"}
