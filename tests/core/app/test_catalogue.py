"""The catalogue: whose store an app is in, who sees it, its versions, and what cannot be deleted."""

import pytest

from cloudphone_core.app.models import Base
from cloudphone_core.app.seed import SeedApp, SeedInstallation, SeedVersion, seed
from cloudphone_shared.database import History, differences
from cloudphone_shared.ids import uuid7
from tests.core.app.conftest import TO_INSTALLED, World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio


async def test_an_app_is_made_published_and_renamed(world: World) -> None:
    body = {"packageName": f"org.a{uuid7().hex}", "name": "Chess", "category": "games"}
    response = await world.client.post("/v1/apps", headers=world.admin, json=body)
    app = response.json()["data"]
    path = response.headers["location"]
    assert response.status_code == 201
    assert path == f"/v1/apps/{app['id']}"
    assert (app["tenantId"], app["published"], app["latestVersion"]) == (None, False, None)
    assert (await world.client.get(path, headers=world.as_ana)).status_code == 404
    changed = await world.client.patch(
        path, headers={**world.admin, "If-Match": response.headers["etag"]}, json={"published": True, "name": "Go"}
    )
    assert changed.status_code == 200
    assert changed.json()["entities"] == {f"app:{app['id']}": changed.json()["data"]["version"]}
    assert changed.headers["etag"] == f'"v{changed.json()["data"]["version"]}"' != response.headers["etag"]
    stale = {**world.admin, "If-Match": response.headers["etag"]}
    assert (await world.client.patch(path, headers=stale, json={"name": "Late"})).status_code == 412
    assert (await world.ok("GET", path, world.as_ana))["data"]["name"] == "Go"
    same = await world.ok("PATCH", path, world.admin, {"name": "Go"})
    assert same["data"]["version"] == changed.json()["data"]["version"]
    await world.ok("PATCH", path, world.admin, {"published": False})
    assert (await world.client.get(path, headers=world.as_ana)).status_code == 404


async def test_versions_are_immutable_and_the_highest_code_is_the_latest(world: World) -> None:
    app = await world.app()
    for code in (2, 10, 3):
        await world.version(app, versionCode=code, versionName=f"{code}.0", abis=["x86_64", "x86_64"])
    path = f"/v1/apps/{app['id']}"
    listed = await world.ok("GET", f"{path}/versions", world.as_ana)
    assert [one["versionCode"] for one in listed["data"]] == [10, 3, 2]
    assert listed["data"][0]["abis"] == ["x86_64"]
    now = (await world.ok("GET", path, world.bff))["data"]
    assert now["latestVersion"] == "10.0"
    assert now["version"] == listed["entities"][f"app:{app['id']}"] == app["version"] + 3
    body = {"versionCode": 3, "versionName": "3.1", "sha256": "b" * 64, "size": 1}
    again = await world.client.post(f"{path}/versions", headers=world.admin, json=body)
    assert again.status_code == 409
    assert problem(again)["code"] == "already-exists"


async def test_a_package_is_in_a_store_once(world: World) -> None:
    body = {"packageName": f"org.a{uuid7().hex}", "name": "Chess"}
    for who in (world.admin, world.staff(world.acme), world.staff(world.rival)):
        assert (await world.client.post("/v1/apps", headers=who, json=body)).status_code == 201
        assert (await world.client.post("/v1/apps", headers=who, json=body)).status_code == 409


async def test_each_store_is_seen_and_managed_by_its_own(world: World) -> None:
    shared, draft = await world.app(), await world.app(published=False)
    own = await world.app(world.staff(world.acme))
    own_draft = await world.app(world.staff(world.acme), published=False)
    theirs = await world.app(world.staff(world.rival))
    every = {one["id"]: one for one in (shared, draft, own, own_draft, theirs)}
    seen = {
        "admin": (world.admin, [shared, draft, own, own_draft, theirs]),
        "acme": (world.staff(world.acme), [shared, own, own_draft]),
        "rival": (world.staff(world.rival), [shared, theirs]),
        "ana": (world.as_ana, [shared, own]),
        "bff": (world.bff, [shared, draft, own, own_draft, theirs]),
    }
    for name, (who, visible) in seen.items():
        allowed = {one["id"] for one in visible}
        listed: set[str] = set()
        cursor = ""
        while True:
            page = await world.ok("GET", f"/v1/apps?limit=100{cursor}", who)
            listed |= {one["id"] for one in page["data"]["items"]}
            assert page["entities"].keys() == {f"app:{one['id']}" for one in page["data"]["items"]}
            if page["data"]["nextCursor"] is None:
                break
            cursor = f"&cursor={page['data']['nextCursor']}"
        assert listed & set(every) == allowed, name
        for app_id in every:
            for path in (f"/v1/apps/{app_id}", f"/v1/apps/{app_id}/versions"):
                expected = 200 if app_id in allowed else 404
                assert (await world.client.get(path, headers=who)).status_code == expected, (name, path)
    managed = [
        (world.staff(world.acme), shared, 403),
        (world.staff(world.acme), draft, 404),
        (world.staff(world.acme), own, 200),
        (world.staff(world.acme), theirs, 404),
        (world.admin, own, 200),
        (world.as_ana, own, 403),
    ]
    version = {"versionCode": 7, "versionName": "7", "sha256": "c" * 64, "size": 7}
    for who, app, expected in managed:
        path = f"/v1/apps/{app['id']}"
        assert (await world.client.patch(path, headers=who, json={"name": "Mine"})).status_code == expected
        if expected != 200:
            assert (await world.client.delete(path, headers=who)).status_code == expected
            assert (await world.client.post(f"{path}/versions", headers=who, json=version)).status_code == expected


async def test_an_app_on_a_device_cannot_be_deleted(world: World) -> None:
    app = await world.app()
    version = await world.version(app)
    made = await world.install(version)
    path = f"/v1/apps/{app['id']}"
    assert (await world.client.delete(path, headers=world.admin)).status_code == 409
    await world.walk(made, *TO_INSTALLED)
    assert (await world.client.delete(path, headers=world.admin)).status_code == 409
    await world.walk(made, "uninstalling", "failed")
    gone = await world.ok("DELETE", path, world.admin)
    tombstone = gone["entities"][f"app:{app['id']}"]
    absent = await world.client.get(path, headers=world.bff)
    assert absent.status_code == 404
    assert problem(absent)["entities"] == {f"app:{app['id']}": tombstone}
    listed = await world.listed(world.bff)
    assert [one["appName"] for one in listed["data"]] == ["Chess"], "the record outlives the app"
    body = {"deviceId": str(world.phone.id), "appVersionId": version["id"]}
    assert (await world.client.post("/v1/installations", headers=world.as_ana, json=body)).status_code == 404
    again = {"packageName": app["packageName"], "name": "Chess again"}
    assert (await world.client.post("/v1/apps", headers=world.admin, json=again)).status_code == 201


async def test_apps_are_found_and_sorted(world: World) -> None:
    mark = uuid7().hex
    for name, category in (("Beta 100%", "games"), ("alpha", "tools"), ("Gamma", "games")):
        await world.app(name=name, category=category, description=f"about {mark}")

    async def names(query: str) -> list[str]:
        page = (await world.ok("GET", f"/v1/apps?search={mark.upper()}&{query}", world.as_ana))["data"]
        return [one["name"] for one in page["items"]]

    assert await names("sort=-createdAt") == ["Gamma", "alpha", "Beta 100%"]
    assert await names("category=games&sort=name") == ["Beta 100%", "Gamma"]
    assert await names("published=false") == []
    assert len(await names("published=true&sort=packageName")) == 3
    assert len((await world.ok("GET", "/v1/apps?search=100%25", world.as_ana))["data"]["items"]) == 1
    assert (await world.ok("GET", "/v1/apps?search=1__%25", world.as_ana))["data"]["items"] == []


BAD = ["limit=0", "limit=x", "sort=size", "cursor=x", "published=maybe", "search=" + "x" * 101, "search=%00"]


@pytest.mark.parametrize("query", BAD)
async def test_a_senseless_list_is_400(world: World, query: str) -> None:
    response = await world.client.get(f"/v1/apps?{query}", headers=world.admin)
    assert response.status_code == 400, response.text
    problem(response)


GOOD_VERSION = {"versionCode": 1, "versionName": "1", "sha256": "a" * 64, "size": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"versionCode": 0},
        {"versionCode": 2**40},
        {"sha256": "A" * 64},
        {"sha256": "a" * 64 + "\n"},
        {"abis": ["mips"]},
        {"size": 0},
        {"minSdk": 1000},
        {"versionName": "a\u0000"},
        {"signer": "me"},
    ],
)
async def test_a_senseless_version_is_400(world: World, wrong: dict[str, object]) -> None:
    app = await world.app()
    path = f"/v1/apps/{app['id']}/versions"
    response = await world.client.post(path, headers=world.admin, json={**GOOD_VERSION, **wrong})
    assert response.status_code == 400, response.text
    problem(response)


async def test_statistics_are_the_scopes_own(world: World) -> None:
    own = await world.app(world.staff(world.rival), published=False)
    version = await world.version(own, world.staff(world.rival))
    device = world.owners.device(world.rival)
    before = (await world.ok("GET", "/v1/apps/statistics", world.staff(world.rival)))["data"]
    made = await world.install(version, device, world.staff(world.rival))
    await world.walk(made, *TO_INSTALLED)
    after = (await world.ok("GET", "/v1/apps/statistics", world.staff(world.rival)))["data"]
    assert after == {**before, "installations": 1}
    assert after["apps"] == after["published"] + 1
    assert (await world.client.get("/v1/apps/statistics", headers=world.as_ana)).status_code == 403
    assert (await world.client.get("/v1/apps")).status_code == 401


async def test_seeded_rows_are_read_and_changed_like_any_others(world: World) -> None:
    version = SeedVersion(
        id=uuid7(), version_code=4, version_name="4.0", sha256="d" * 64, size=5, created_at=world.now, abis=["x86"]
    )
    package = f"org.a{uuid7().hex}"
    app = SeedApp(id=uuid7(), package_name=package, name="Maps", created_at=world.now, versions=[version])
    installation = SeedInstallation(
        id=uuid7(),
        tenant_id=world.acme,
        device_id=world.phone.id,
        app_id=app.id,
        app_version_id=version.id,
        package_name=package,
        created_at=world.now,
        updated_at=world.now,
        installed_at=world.now,
    )
    await seed(world.database, apps=[app], installations=[installation])
    listed = await world.listed(world.as_ana)
    assert [(one["appName"], one["versionName"], one["state"]) for one in listed["data"]] == [
        ("Maps", "4.0", "installed")
    ]
    assert min(listed["entities"].values()) > 0
    await world.ok("PATCH", f"/v1/installations/{installation.id}", world.as_ana, {"state": "uninstalling"})


async def test_the_migrated_schema_is_the_models(database_url: str) -> None:
    assert await differences(database_url, History.of("app"), Base.metadata) == []
