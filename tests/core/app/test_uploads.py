"""Uploads: whatever way a file comes, it arrives once and whole, and only what can be installed gets into the store."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudphone_core.app import uploads
from cloudphone_core.app.checking import Checks
from cloudphone_core.app.main import create_app
from cloudphone_core.app.models import SCHEMA
from cloudphone_core.app.storage import Storage
from cloudphone_core.app.sweeping import sweep_uploads
from cloudphone_core.app.upload_routes import PATCHED
from cloudphone_shared.database import Database
from cloudphone_shared.ids import uuid7
from tests.apks import ADAPTIVE, BAD, TINY, apk
from tests.conditions import eventually
from tests.core.app.conftest import RULES, World
from tests.core.owners import problem
from tests.signing import client_of
from tests.uploading import TUS

pytestmark = pytest.mark.anyio


def package() -> str:
    return f"org.a{uuid7().hex}"


async def test_an_apk_comes_in_pieces_and_becomes_a_version_with_a_picture(world: World) -> None:
    content = TINY.read_bytes()
    seller = world.staff(world.acme)
    place = await world.announced(len(content), seller, filename="tiny.apk", sha256=hashlib.sha256(content).hexdigest())
    for start, end in ((0, 1000), (1000, 9000), (9000, len(content))):
        sent = await world.send(place, start, content[start:end], seller)
        assert (sent.status_code, sent.headers["upload-offset"]) == (204, str(end)), sent.text
        looked = await world.client.head(place, headers={**seller, **TUS})
        assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == (str(end), str(len(content)))
    assert sent.headers["upload-state"] == "ready"
    read = (await world.ok("GET", place, seller))["data"]["apk"]
    assert (read["packageName"], read["versionCode"], read["label"]) == ("org.cloudphone.tiny", 42, "Tiny Phone")
    version = (await world.ok("POST", f"{place}/publish", seller, {"category": "games"}))["data"]
    assert (version["versionCode"], version["available"], version["published"]) == (42, True, True)
    assert await world.ok("POST", f"{place}/publish", seller, {}) == await world.ok(
        "POST", f"{place}/publish", seller, {}
    )
    app = (await world.ok("GET", f"/v1/apps/{version['appId']}", world.as_ana))["data"]
    assert (app["name"], app["category"], app["latestVersion"], app["icon"]) == ("Tiny Phone", "games", "1.4.2", True)
    icon = await world.client.get(f"/v1/apps/{app['id']}/icon", headers=world.as_ana)
    assert icon.headers["content-type"] in ("image/png", "image/webp")
    named = {"category": "games", "search": "tiny"}
    assert [
        each["id"] for each in (await world.ok("GET", "/v1/apps", world.as_ana, params=named))["data"]["items"]
    ] == [app["id"]]

    file = f"/v1/app-versions/{version['id']}/apk"
    device = world.signer.service("device")
    assert (await world.client.get(file, headers=device)).content == content
    assert (await world.client.get(file, headers=world.admin)).status_code == 403
    for asked, start, end in (("100-199", 100, 200), ("12000-", 12000, None), ("-5", -5, None), ("0-99999", 0, None)):
        part = await world.client.get(file, headers={**device, "Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, content[start:end])
    beyond = await world.client.get(file, headers={**device, "Range": "bytes=20000-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")


async def test_what_cannot_be_installed_is_refused_with_a_sentence(world: World) -> None:
    name = package()
    version = await world.published(apk(name, 7))
    whole = apk(package(), ballast=40_000)
    of_app = {"appId": version["appId"]}
    refusals = [
        ("INSTALL_PARSE_FAILED_NOT_APK", BAD.read_bytes(), {}),
        ("INSTALL_PARSE_FAILED_NOT_APK", whole[:-1000], {}),
        ("INSTALL_PARSE_FAILED_NO_CERTIFICATES", apk(package(), by=None), {}),
        ("no-abi-fits", apk(package(), abis=["x86"]), {}),
        ("test-only", apk(package(), test_only=True), {}),
        ("downgrade", apk(name, 7), {}),
        ("downgrade", apk(name, 6), of_app),
        ("other-signer", apk(name, 8, by="Eve"), {}),
        ("other-package", apk(package()), of_app),
        ("sha256-mismatch", apk(package()), {"sha256": "0" * 64}),
    ]
    for code, content, metadata in refusals:
        upload = await world.upload(content, **metadata)
        assert (upload["state"], upload["code"]) == ("refused", code), upload
        assert len(upload["detail"]) > 20
        refused = await world.client.post(f"/v1/uploads/{upload['id']}/publish", headers=world.admin, json={})
        assert (refused.status_code, problem(refused)["detail"]) == (409, upload["detail"])
    assert (await world.upload(ADAPTIVE.read_bytes()))["state"] == "ready"
    assert (await world.upload(apk(name, 8)))["state"] == "ready"


async def test_of_two_uploads_of_one_version_the_second_is_not_published(world: World) -> None:
    name = package()
    first, second = await world.upload(apk(name, 1)), await world.upload(apk(name, 1))
    await world.ok("POST", f"/v1/uploads/{first['id']}/publish", world.admin, {})
    refused = await world.client.post(f"/v1/uploads/{second['id']}/publish", headers=world.admin, json={})
    assert (refused.status_code, problem(refused)["reason"]) == (409, "downgrade")


async def test_an_interrupted_request_keeps_what_arrived_and_any_process_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudphone_core.app.receiving.PART_BYTES", 4096)
    content = apk(package(), ballast=50_000)
    place = await world.announced(len(content))

    async def breaking() -> AsyncIterator[bytes]:
        for start in range(0, 30_000, 1000):
            yield content[start : start + 1000]
        raise ConnectionResetError

    await world.send(place, 0, breaking())
    at = (await world.ok("GET", place, world.admin))["data"]["offset"]
    assert at == 30_000
    async with another(world) as client:
        headers = {**world.admin, **TUS, "Upload-Offset": str(at), "Content-Type": PATCHED}
        sent = await client.patch(place, headers=headers, content=content[at:])
    assert (sent.status_code, sent.headers["upload-state"]) == (204, "ready"), sent.text


async def test_of_two_writers_at_once_one_wins(world: World) -> None:
    content = apk(package(), ballast=20_000)
    place = await world.announced(len(content))
    second = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield content[:10_000]
        await second.wait()
        yield content[10_000:]

    first = asyncio.create_task(world.send(place, 0, slow()))
    taken = "SELECT 1 FROM app.uploads WHERE id = :id AND lock_token IS NOT NULL"
    await eventually(lambda: world.rows(taken, id=place[-36:]))
    refused = await world.send(place, 0, content)
    assert (refused.status_code, problem(refused)["code"]) == (423, "upload-busy")
    second.set()
    assert (await first).headers["upload-state"] == "ready"
    late = await world.send(place, 0, content)
    assert late.status_code == 409


async def test_a_body_with_a_wrong_checksum_counts_for_nothing(world: World) -> None:
    content = apk(package())
    place = await world.announced(len(content))

    def checksum(of: bytes) -> dict[str, str]:
        return {"Upload-Checksum": f"sha256 {base64.b64encode(hashlib.sha256(of).digest()).decode()}"}

    wrong = await world.send(place, 0, content[:900], **checksum(content))
    assert (wrong.status_code, problem(wrong)["code"]) == (460, "checksum-mismatch")
    assert (await world.ok("GET", place, world.admin))["data"]["offset"] == 0
    assert (await world.send(place, 0, content[:500], **checksum(content[:500]))).status_code == 204
    assert (await world.send(place, 500, content[500:], **checksum(content[500:]))).headers["upload-state"] == "ready"


async def test_a_full_disk_loses_nothing(world: World) -> None:
    content = apk(package(), ballast=9_000)
    place = await world.announced(len(content))
    assert (await world.send(place, 0, content[:5000])).status_code == 204
    world.storage._reserve = 2**60
    full = await world.send(place, 5000, content[5000:])
    assert (full.status_code, problem(full)["code"]) == (507, "storage-full")
    headers = {**world.admin, **TUS, "Upload-Length": "1000"}
    assert (await world.client.post("/v1/uploads", headers=headers)).status_code == 507
    world.storage._reserve = 0
    assert (await world.ok("GET", place, world.admin))["data"]["offset"] == 5000
    assert (await world.send(place, 5000, content[5000:])).headers["upload-state"] == "ready"


async def test_what_nobody_ended_is_swept_away_and_a_check_that_died_is_taken_up(world: World) -> None:
    content = apk(package())
    version = await world.published(content)
    left = await world.announced(len(content))
    await world.send(left, 0, content[:100])
    whole = await world.announced(len(content))
    await world.send(whole, 0, content[:-1])
    checks = Checks(world.database, world.storage, RULES, lambda: world.now)
    caller = await world.signer.verifier().verify(world.admin["Authorization"].encode())
    async with world.database.writing() as session:
        turn = await uploads.take_turn(session, caller, UUID(whole[-36:]), len(content) - 1, RULES, world.now)
        await world.storage.put(uploads.part_key(turn.upload_id, turn.offset), content[-1:])
        await uploads.keep(session, turn, [(turn.offset, 1)], 20, world.now)
    await checks.sweep()
    assert (await world.ok("GET", whole, world.admin))["data"]["code"] == "downgrade"
    world.now += timedelta(hours=2)
    assert (await world.send(left, 100, content[100:])).status_code == 410
    assert await sweep_uploads(world.database, world.storage, world.now) >= 2
    assert (await world.client.get(left, headers=world.admin)).status_code == 404
    file = await world.client.get(f"/v1/app-versions/{version['id']}/apk", headers=world.signer.service("device"))
    assert file.content == content
    await checks.close()


async def test_uploads_are_ones_own_and_within_limits(world: World) -> None:
    place = await world.announced(10, world.staff(world.acme))
    for who in (world.staff(world.rival), world.as_ana):
        assert (await world.client.head(place, headers={**who, **TUS})).status_code in (403, 404)
        assert (await world.send(place, 0, b"1", who)).status_code in (403, 404)
    for headers, status in (
        ({"Upload-Length": str(RULES.largest + 1), **TUS}, 413),
        ({"Upload-Length": "0", **TUS}, 400),
        ({"Upload-Length": "x", **TUS}, 400),
        ({"Upload-Length": "5"}, 412),
        ({"Upload-Length": "5", "Upload-Metadata": "sha256 ***", **TUS}, 400),
    ):
        answer = await world.client.post("/v1/uploads", headers={**world.admin, **headers})
        assert answer.status_code == status, answer.text
    assert (await world.send(place, 0, b"12345678901")).status_code == 413
    options = await world.client.options("/v1/uploads")
    assert (options.status_code, options.headers["tus-max-size"]) == (204, str(RULES.largest))
    gone = await world.client.delete(place, headers={**world.admin, **TUS})
    assert gone.status_code == 204
    assert (await world.client.head(place, headers={**world.admin, **TUS})).status_code == 404


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 12_700), st.binary(min_size=1, max_size=40)), max_size=4),
    cut=st.integers(1, 12_701),
)
async def test_a_damaged_apk_is_refused_and_nothing_breaks(
    world: World, edits: list[tuple[int, bytes]], cut: int
) -> None:
    content = bytearray(TINY.read_bytes())
    for at, wrong in edits:
        content[at : at + len(wrong)] = wrong
    upload = await world.upload(bytes(content[:cut]), world.signer.headers(role="admin", tenant=world.acme))
    assert upload["state"] in ("refused", "ready")
    assert upload["state"] == "refused" or bytes(content[:cut]) == TINY.read_bytes() or upload["apk"]


def another(world: World) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """A second process of the app service on the same database and store."""
    app = create_app(
        database=Database(world.database.url, schema=SCHEMA, service="app"),
        storage=Storage(world.storage._url),
        rules=RULES,
        verifier=world.signer.verifier(),
        core=world.owners.clients(world.signer, "app"),
        cursor_key="test",
        now=lambda: world.now + timedelta(minutes=1),
    )
    return client_of(app)
