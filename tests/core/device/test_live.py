"""Phones over HTTP: who may see and use them, what they answer, and what is refused."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cloudphone_core.device.live.files import parts_of
from cloudphone_core.device.models import DeviceRow, GrantRow
from cloudphone_core.device.providers.port import Container
from cloudphone_phone import Faults
from cloudphone_shared.contracts.user import User
from cloudphone_shared.errors import Invalid
from cloudphone_shared.ids import uuid7
from tests.core.device.conftest import World
from tests.core.device.phones import Phones, now_running, plan

pytestmark = pytest.mark.anyio
TAP = {"events": [{"type": "tap", "x": 1, "y": 2}]}


class Rented:
    """Ana's device, and its phone."""

    def __init__(self, world: World, owner: User, device: dict[str, Any], container: Container) -> None:
        self.world, self.owner, self.container = world, owner, container
        self.id = UUID(device["id"])
        self.path = f"/v1/devices/{device['id']}"
        self.by = world.customer(owner)

    async def share(self, user: User, access: str = "view", *, seconds: float = 60, revoked: bool = False) -> None:
        now = datetime.now(UTC)
        async with self.world.database.writing() as session:
            session.add(
                GrantRow(
                    id=uuid7(), device_id=self.id, tenant_id=self.owner.tenant_id, owner_id=self.owner.id,
                    user_id=user.id, user_name=user.name, access=access, until=now + timedelta(seconds=seconds),
                    created_at=now, revoked_at=now if revoked else None,
                )
            )  # fmt: skip

    async def status(self, method: str, path: str, by: dict[str, str]) -> int:
        return (await self.world.ask(method, self.path + path, TAP if method == "POST" else None, by=by)).status_code


@pytest.fixture
async def rented(world: World, phones: Phones) -> Rented:
    ana = world.users.user(world.users.tenant())
    device = await world.device(owner=ana)
    container, _ = await phones.start(plan(UUID(device["id"])))
    await now_running(world.database, device["id"], container)
    return Rented(world, ana, device, container)


async def test_a_customer_sees_and_uses_her_phone(rented: Rented, phones: Phones) -> None:
    shown = await rented.world.ask("GET", rented.path + "/screenshot", by=rented.by)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
    assert shown.content.startswith(b"\x89PNG")
    typed = {"events": [*TAP["events"], {"type": "text", "text": "$(reboot) 'x'"}, {"type": "key", "key": "enter"}]}
    answer = await rented.world.ask("POST", rented.path + "/input", typed, by=rented.by)
    assert (answer.status_code, answer.json()["data"]) == (200, None)
    assert phones.typed(rented.container).startswith("$(reboot) 'x'")
    for wrong in (
        {"type": "shell", "line": "reboot"},
        {"type": "text", "text": "a\nb"},
        {"type": "tap", "x": -1, "y": 0},
    ):
        answer = await rented.world.ask("POST", rented.path + "/input", {"events": [wrong]}, by=rented.by)
        assert answer.status_code == 400


async def test_who_may_do_what(rented: Rented) -> None:
    world, users = rented.world, rented.world.users
    looks = [("GET", "/screenshot"), ("GET", "/vitals")]
    uses = [("POST", "/input"), ("GET", "/files")]
    viewer, controller, former, late, stranger = (users.user(rented.owner.tenant_id, f"User{n}") for n in range(5))
    await rented.share(viewer)
    await rented.share(controller, "control")
    await rented.share(former, "control", revoked=True)
    await rented.share(late, "control", seconds=-1)
    support = world.signer.headers(role="support", tenant=rented.owner.tenant_id)
    elsewhere = world.signer.headers(role="support", tenant=users.tenant())
    for by, looking, using in (
        (rented.by, 200, 200),
        (world.admin, 200, 200),
        (support, 200, 200),
        (world.customer(controller), 200, 200),
        (world.customer(viewer), 200, 403),
        (world.customer(former), 404, 404),
        (world.customer(late), 404, 404),
        (world.customer(stranger), 404, 404),
        (elsewhere, 404, 404),
    ):
        assert [await rented.status(method, path, by) for method, path in looks] == [looking, looking]
        assert [await rented.status(method, path, by) for method, path in uses] == [using, using]


async def test_a_grant_ends_with_the_ownership_of_who_gave_it(rented: Rented) -> None:
    guest = rented.world.users.user(rented.owner.tenant_id, "Guest")
    await rented.share(guest, "control")
    assert await rented.status("GET", "/screenshot", rented.world.customer(guest)) == 200
    other = rented.world.users.user(rented.owner.tenant_id, "Other")
    await set_row(rented, owner_id=other.id)
    assert await rented.status("GET", "/screenshot", rented.world.customer(guest)) == 404


async def set_row(rented: Rented, **values: object) -> None:
    async with rented.world.database.writing() as session:
        row = await session.get_one(DeviceRow, rented.id)
        for name, value in values.items():
            setattr(row, name, value)


async def test_a_device_that_does_not_run_and_a_phone_that_is_away_are_told_apart(
    rented: Rented, phones: Phones
) -> None:
    await phones.provider.stop(rented.container.id)
    away = await rented.world.ask("GET", rented.path + "/screenshot", by=rented.by)
    assert (away.status_code, away.json()["code"], away.json()["service"]) == (503, "unavailable", "phone")
    assert int(away.headers["retry-after"]) >= 1
    await set_row(rented, state="stopped")
    off = await rented.world.ask("GET", rented.path + "/screenshot", by=rented.by)
    assert (off.status_code, off.json()["code"], off.json()["current_state"]) == (409, "state-conflict", "stopped")
    vitals = (await rented.world.ask("GET", rented.path + "/vitals", by=rented.by)).json()["data"]
    assert (vitals["online"], vitals["cpuLoad"]) == (False, None)


async def test_files_are_pushed_listed_and_pulled(rented: Rented) -> None:
    content = bytes(range(256)) * 2000
    ask = rented.world.http.request
    where = {"path": "/sdcard/Download/new folder/it's"}
    pushed = await ask("PUT", rented.path + "/files/content", params=where, content=content, headers=rented.by)
    assert pushed.status_code == 200, pushed.text
    listed = await ask("GET", rented.path + "/files", params={"path": "/sdcard/Download"}, headers=rented.by)
    assert [(file["path"], file["folder"]) for file in listed.json()["data"]] == [("/sdcard/Download/new folder", True)]
    listed = await ask(
        "GET", rented.path + "/files", params={"path": "/sdcard/Download/new folder/"}, headers=rented.by
    )
    assert [(file["path"], file["size"]) for file in listed.json()["data"]] == [(where["path"], len(content))]
    pulled = await ask("GET", rented.path + "/files/content", params=where, headers=rented.by)
    assert (pulled.status_code, pulled.headers["content-type"]) == (200, "application/octet-stream")
    assert pulled.content == content
    for path, status in (
        ("/sdcard/none", 404),
        ("/sdcard/Download", 404),
        ("/sdcard", 404),
    ):
        answer = await ask("GET", rented.path + "/files/content", params={"path": path}, headers=rented.by)
        assert answer.status_code == status, path
    beneath = {"path": where["path"] + "/below"}
    refused = await ask("PUT", rented.path + "/files/content", params=beneath, content=b"x", headers=rented.by)
    assert refused.status_code == 409


@pytest.mark.parametrize(
    "path",
    [
        "/data/local/tmp/x", "/sdcardx/y", "sdcard/x", "/sdcard/../data/x", "/sdcard/a/../../x", "/sdcard/./x",
        "/sdcard/a\x00b", "/sdcard/a\nb", "/", "/sdcard/" + "x" * 256, "/sdcard/" + "x/" * 600, "//sdcard/x",
    ],
)  # fmt: skip
def test_no_path_leaves_the_shared_folder(path: str) -> None:
    with pytest.raises(Invalid):
        parts_of(path)


async def test_no_link_is_followed(rented: Rented, phones: Phones, tmp_path: Path) -> None:
    shared = tmp_path / "farm" / "volumes" / rented.container.volume / "files/storage/emulated/0"
    (shared / "link").symlink_to("/etc")
    (shared / "real").mkdir()
    assert stat.S_ISLNK((shared / "link").lstat().st_mode)
    for method, path in (("GET", "/files"), ("GET", "/files/content"), ("PUT", "/files/content")):
        for where in ("/sdcard/link", "/sdcard/link/passwd"):
            answer = await rented.world.http.request(
                method, rented.path + path, params={"path": where}, headers=rented.by
            )
            assert answer.status_code == 400, (method, path, where)
            assert answer.json()["errors"][0]["field"] == "path"


async def test_a_full_phone_and_a_large_file_are_refused_with_a_reason(
    rented: Rented, phones: Phones, monkeypatch: pytest.MonkeyPatch
) -> None:
    await phones.farm.inflict(rented.container.id, Faults(disk_full=True))
    where = {"path": "/sdcard/file"}
    full = await rented.world.http.put(
        rented.path + "/files/content", params=where, content=bytes(1000), headers=rented.by
    )
    assert (full.status_code, full.json()["code"], full.json()["reason"]) == (409, "phone-refused", "no_space")
    announced = {**rented.by, "Content-Length": str(257 << 20)}
    large = await rented.world.http.put(rented.path + "/files/content", params=where, content=b"x", headers=announced)
    assert large.status_code == 413


async def test_one_input_reaches_many_phones(world: World, phones: Phones) -> None:
    ana = world.users.user(world.users.tenant())
    devices = [await world.device(owner=ana) for _ in range(6)]
    containers: list[Container] = []
    for device in devices[:5]:
        container, _ = await phones.start(plan(UUID(device["id"])))
        await now_running(world.database, device["id"], container)
        containers.append(container)
    await phones.farm.inflict(containers[4].id, Faults(unauthorized=True))
    stranger = str(uuid7())
    ids = [*(device["id"] for device in devices), stranger]
    answer = await world.ask(
        "POST", "/v1/devices/input", {"deviceIds": ids, "events": [{"type": "text", "text": "all"}]},
        by=world.customer(ana),
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    items = answer.json()["data"]["items"]
    assert [item["deviceId"] for item in items] == ids
    assert [item["error"] is None for item in items] == [True] * 4 + [False] * 3
    assert [phones.typed(container) for container in containers[:4]] == ["all"] * 4
    done = sorted(item["doneAfterMs"] for item in items[:4])
    assert answer.json()["data"]["skewP95Ms"] == pytest.approx(done[-1] - done[0], abs=0.01)
    assert not any("127.0.0.1" in (item["error"] or "") for item in items)
