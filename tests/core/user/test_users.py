"""Accounts and tenants: what is announced, who may see and change whom, and what cannot be undone by mistake."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from cloudphone_core.user.installation import create_first_administrator
from cloudphone_core.user.models import SCHEMA, Base
from cloudphone_core.user.service import delete_user
from cloudphone_shared import entities
from cloudphone_shared.auth import ROLE_PERMISSIONS, Caller
from cloudphone_shared.database import Database, History, differences, versions_of
from cloudphone_shared.errors import Conflict
from tests.conditions import eventually

from .conftest import PASSWORD, World, cheap

pytestmark = pytest.mark.anyio


async def announced(database: Database) -> list[tuple[str, dict[str, int], dict[str, Any]]]:
    async with database.reading() as session:
        rows = await session.execute(text("SELECT type, entities, payload FROM identity.outbox ORDER BY id"))
        return [(row.type, row.entities, row.payload) for row in rows]


async def version(database: Database, entity: str) -> int:
    async with database.reading() as session:
        return (await versions_of(session, entity))[entity]


async def test_the_migrated_schema_is_the_models(database: Database) -> None:
    assert await differences(database.url, History.of("user"), Base.metadata) == []
    assert SCHEMA == "identity"


async def test_an_account_is_answered_with_its_versions(world: World, database: Database) -> None:
    tenant = await world.tenant("Acme")
    ana = await world.user(tenantId=tenant, phone="+34 600 000 000", locale="es")

    answer = await world.seen(ana["id"])

    user, shown = answer.json()["data"], answer.json()["entities"]
    assert (user["name"], user["tenantName"], user["phone"], user["locale"]) == ("Ana", "Acme", "+34 600 000 000", "es")
    assert shown == {
        entities.user(ana["id"]): user["version"],
        entities.tenant(tenant): await version(database, entities.tenant(tenant)),
    }
    assert answer.headers["ETag"] == f'"v{user["version"]}"'


async def test_a_new_account_touches_itself_and_its_tenants_users(world: World, database: Database) -> None:
    tenant = await world.tenant()
    ana = await world.user(tenantId=tenant)

    kind, touched, data = (await announced(database))[-1]

    assert kind == "user.created"
    assert touched.keys() == {entities.user(ana["id"]), entities.users_of(tenant)}
    assert data == {"userId": ana["id"], "tenantId": tenant, "name": "Ana", "email": ana["email"], "role": "customer"}


async def test_a_rename_is_announced_and_answered_at_once(world: World, database: Database) -> None:
    ana = await world.user()

    answer = await world.patch(ana["id"], name="Ana Lima")

    kind, touched, data = (await announced(database))[-1]
    assert (kind, data["name"], data["changed"]) == ("user.updated", "Ana Lima", ["name"])
    assert touched == {entities.user(ana["id"]): answer.json()["data"]["version"]}
    assert answer.json()["entities"].items() >= touched.items()
    assert answer.json()["data"]["version"] > ana["version"]


async def test_a_change_that_changes_nothing_is_not_announced(world: World, database: Database) -> None:
    ana = await world.user()
    before = await announced(database)

    answer = await world.patch(ana["id"], name="Ana")

    assert answer.json()["data"] == ana
    assert await announced(database) == before


async def test_a_change_asked_of_an_older_version_is_refused(world: World) -> None:
    ana = await world.user()
    await world.patch(ana["id"], name="Ana Lima")
    stale = {**world.root, "If-Match": f'"v{ana["version"]}"'}

    answers = [
        await world.http.patch(f"/v1/users/{ana['id']}", json={"name": "Eve"}, headers=stale),
        await world.http.post(f"/v1/users/{ana['id']}/suspend", json={"reason": "x"}, headers=stale),
        await world.http.delete(f"/v1/users/{ana['id']}", headers=stale),
    ]

    assert [answer.status_code for answer in answers] == [412, 412, 412]
    malformed = {**world.root, "If-Match": "7"}
    answer = await world.http.patch(f"/v1/users/{ana['id']}", json={"name": "Eve"}, headers=malformed)
    assert answer.status_code == 400


async def test_one_of_many_changes_asked_of_the_same_version_is_made(world: World) -> None:
    ana = await world.user()
    headers = {**world.root, "If-Match": f'"v{ana["version"]}"'}
    await asyncio.gather(*(world.seen(ana["id"]) for _ in range(8)))  # So that none waits for its connection.

    answers = await asyncio.gather(
        *(world.http.patch(f"/v1/users/{ana['id']}", json={"name": f"Ana {n}"}, headers=headers) for n in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]


async def test_a_deleted_account_is_gone_and_its_address_free(world: World, database: Database) -> None:
    ana = await world.user(email="ana@example.com", phone="+34 600 000 000")
    tokens = await world.tokens("ana@example.com")

    answer = await world.http.delete(f"/v1/users/{ana['id']}", headers=world.root)

    touched = answer.json()["entities"]
    assert answer.json()["data"] is None
    assert touched.keys() == {
        entities.user(ana["id"]), entities.users_of(ana["tenantId"]), entities.sessions(ana["id"]),
    }  # fmt: skip
    gone = await world.seen(ana["id"])
    assert (gone.status_code, gone.json()["entities"]) == (
        404, {entities.user(ana["id"]): touched[entities.user(ana["id"])]},
    )  # fmt: skip
    assert (await world.login("ana@example.com")).json()["code"] == "invalid-credentials"
    assert (await world.refresh(tokens["refreshToken"])).status_code == 401
    assert (await world.patch(ana["id"], name="Eve")).status_code == 404
    async with database.reading() as session:
        left = str((await session.execute(text("SELECT t::text FROM identity.users t"))).all())
    assert "ana@example.com" not in left
    assert "600 000" not in left
    assert (await world.user(email="Ana@example.com"))["id"] != ana["id"]


async def test_an_address_is_had_once_whatever_its_case(world: World) -> None:
    await world.user(email="ana@example.com")
    body = {"name": "Eve", "email": "ANA@EXAMPLE.COM", "password": PASSWORD}

    created = await world.http.post("/v1/users", json=body, headers=world.root)
    eve = await world.user()
    changed = await world.patch(eve["id"], email="Ana@example.com")

    assert (created.status_code, created.json()["code"]) == (409, "already-exists")
    assert (changed.status_code, changed.json()["code"]) == (409, "already-exists")


async def test_of_many_accounts_made_at_once_with_one_address_one_is_made(world: World) -> None:
    body = {"name": "Ana", "email": "ana@example.com", "password": PASSWORD}

    answers = await asyncio.gather(*(world.http.post("/v1/users", json=body, headers=world.root) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]


async def test_a_request_repeated_with_its_key_makes_one_account(world: World) -> None:
    headers = {**world.root, "Idempotency-Key": "ana-once"}
    body = {"name": "Ana", "email": "ana@example.com", "password": PASSWORD}

    first = await world.http.post("/v1/users", json=body, headers=headers)
    again = await world.http.post("/v1/users", json=body, headers=headers)
    other = await world.http.post("/v1/users", json={**body, "password": "another good one"}, headers=headers)

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.json() == first.json()
    assert again.headers["Location"] == f"/v1/users/{first.json()['data']['id']}"


async def test_accounts_of_another_tenant_are_as_if_absent(world: World) -> None:
    here, there = await world.tenant(), await world.tenant()
    _, admin = await world.member(tenantId=here, role="admin")
    ana = await world.user(tenantId=here)
    eve = await world.user(tenantId=there)
    nobody = str(uuid.uuid4())

    foreign, absent = await world.seen(eve["id"], admin), await world.seen(nobody, admin)

    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.json().keys() == absent.json().keys()
    assert foreign.json()["entities"] == {entities.user(eve["id"]): eve["version"]}
    assert absent.json()["entities"] == {entities.user(nobody): 0}
    for answer in (
        await world.patch(eve["id"], admin, name="Mine"),
        await world.suspend(eve["id"], admin),
        await world.http.post(f"/v1/users/{eve['id']}/reinstate", headers=admin),
        await world.http.delete(f"/v1/users/{eve['id']}", headers=admin),
    ):
        assert answer.status_code == 404
    batch = await world.http.get("/v1/users/batch", params={"ids": f"{ana['id']},{eve['id']},{nobody}"}, headers=admin)
    data = batch.json()["data"]
    assert data["found"].keys() == {ana["id"]}
    assert data["absent"] == {
        eve["id"]: {entities.user(eve["id"]): eve["version"]}, nobody: {entities.user(nobody): 0},
    }  # fmt: skip
    listed = (await world.http.get("/v1/users", params={"limit": 100}, headers=admin)).json()["data"]["items"]
    assert {user["tenantId"] for user in listed} == {here}
    elsewhere = await world.http.get("/v1/users", params={"tenantId": there}, headers=admin)
    assert elsewhere.json()["data"]["items"] == []
    tenants = (await world.http.get("/v1/tenants", headers=admin)).json()["data"]["items"]
    assert [tenant["id"] for tenant in tenants] == [here]
    assert (await world.http.get(f"/v1/tenants/{here}", headers=admin)).json()["data"] == tenants[0]
    hidden = await world.http.get(f"/v1/tenants/{there}", headers=admin)
    assert (hidden.status_code, [*hidden.json()["entities"]]) == (404, [entities.tenant(there)])


async def test_a_customer_sees_and_changes_only_the_own_account(world: World) -> None:
    ana, hers = await world.member()
    bob = await world.user()

    assert (await world.seen(ana["id"], hers)).status_code == 200
    assert (await world.http.get("/v1/users/me", headers=hers)).json()["data"]["id"] == ana["id"]
    assert (await world.patch(ana["id"], hers, name="Ana Lima", email="lima@example.com")).status_code == 200
    assert (await world.login("lima@example.com")).status_code == 200
    assert (await world.seen(bob["id"], hers)).status_code == 404
    assert (await world.patch(bob["id"], hers, name="x")).status_code == 404
    for answer in (
        await world.patch(ana["id"], hers, role="admin"),
        await world.patch(ana["id"], hers, dataScope="all"),
        await world.suspend(ana["id"], hers),
        await world.http.delete(f"/v1/users/{ana['id']}", headers=hers),
        await world.http.post("/v1/users", json={"name": "x", "email": "x@y.zz", "password": PASSWORD}, headers=hers),
        await world.http.post("/v1/tenants", json={"name": "x", "slug": "xx"}, headers=hers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    listed = (await world.http.get("/v1/users", headers=hers)).json()["data"]["items"]
    assert [user["id"] for user in listed] == [ana["id"]]


async def test_support_changes_customers_names_and_nothing_more(world: World) -> None:
    tenant = await world.tenant()
    _, support = await world.member(tenantId=tenant, role="support")
    ana = await world.user(tenantId=tenant)
    operator = await world.user(tenantId=tenant, role="operator")

    assert (await world.patch(ana["id"], support, name="Ana Lima")).status_code == 200
    assert (await world.patch(ana["id"], support, email="stolen@example.com")).status_code == 403
    assert (await world.patch(operator["id"], support, name="x")).status_code == 403


async def test_nobody_gives_more_than_he_has(world: World) -> None:
    here, there = await world.tenant(), await world.tenant()
    _, admin = await world.member(tenantId=here, role="admin")
    root = await world.user(tenantId=here, role="admin", dataScope="all")
    ana = await world.user(tenantId=here)

    def new(**fields: str) -> dict[str, str]:
        return {"name": "x", "email": f"{uuid.uuid4().hex}@y.zz", "password": PASSWORD, **fields}

    post, patch = world.http.post, world.patch
    assert (await post("/v1/users", json=new(role="admin"), headers=admin)).status_code == 201
    assert (await post("/v1/users", json=new(role="admin", dataScope="all"), headers=admin)).status_code == 403
    assert (await post("/v1/users", json=new(tenantId=there), headers=admin)).status_code == 403
    assert (await post("/v1/users", json=new(tenantId=str(uuid.uuid4())), headers=world.root)).status_code == 404
    assert (await patch(ana["id"], admin, role="operator", dataScope="all")).status_code == 403
    assert (await patch(root["id"], admin, name="x")).status_code == 403
    assert (await world.suspend(root["id"], admin)).status_code == 403
    assert (await patch(ana["id"], world.root, dataScope="all")).status_code == 409
    assert (await post("/v1/tenants", json={"name": "x", "slug": "xx"}, headers=admin)).status_code == 403


async def test_a_new_role_takes_its_data_scope_and_ends_the_sessions(world: World, database: Database) -> None:
    ana = await world.user()

    promoted = await world.patch(ana["id"], role="operator")
    demoted = await world.patch(ana["id"], role="customer")

    assert (promoted.json()["data"]["role"], promoted.json()["data"]["dataScope"]) == ("operator", "tenant")
    assert (demoted.json()["data"]["role"], demoted.json()["data"]["dataScope"]) == ("customer", "self")
    assert entities.sessions(ana["id"]) in demoted.json()["entities"]
    assert [kind for kind, _, _ in await announced(database)][-4:] == ["user.updated", "user.sessions-revoked"] * 2


async def test_the_platforms_last_administrator_stays(world: World) -> None:
    me = world.root_id
    refused = [
        await world.http.delete(f"/v1/users/{me}", headers=world.root),
        await world.suspend(me),
        await world.patch(me, role="customer"),
        await world.patch(me, dataScope="tenant"),
    ]
    assert [(answer.status_code, "last administrator" in answer.json()["detail"]) for answer in refused] == [
        (409, True)
    ] * 4

    await world.user(role="admin", dataScope="all")

    assert (await world.patch(me, role="customer")).status_code == 200


async def test_a_tenants_last_administrator_cannot_remove_himself(world: World) -> None:
    tenant = await world.tenant()
    boss, admin = await world.member(tenantId=tenant, role="admin")

    assert (await world.http.delete(f"/v1/users/{boss['id']}", headers=admin)).status_code == 409
    assert (await world.http.delete(f"/v1/users/{boss['id']}", headers=world.root)).status_code == 200


async def test_two_administrators_who_remove_each_other_leave_one(world: World, database: Database) -> None:
    other, headers = await world.member(role="admin", dataScope="all")
    now = datetime.now(UTC)

    async with database.writing() as session:
        await delete_user(session, caller(world.root_id), uuid.UUID(other["id"]), None, now)
        removal = asyncio.create_task(world.http.delete(f"/v1/users/{world.root_id}", headers=headers))
        await eventually(lambda: waits_for_a_lock(database, removal))

    assert (await removal).status_code == 409


def caller(user_id: str) -> Caller:
    return Caller(
        id=user_id, tenant_id=str(uuid.uuid4()), role="admin", kind="user", data_scope="all",
        permissions=ROLE_PERMISSIONS["admin"], sessions_version=0, expires_at=0, token="",
    )  # fmt: skip


async def waits_for_a_lock(database: Database, request: asyncio.Task[Any]) -> bool:
    """Whether some transaction waits for another one, or the request is through already."""
    if request.done():
        return True
    async with database.reading() as session:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return (await session.execute(waiting)).scalar_one() > 0


async def test_there_is_one_first_administrator(database: Database, world: World) -> None:
    with pytest.raises(Conflict):
        await create_first_administrator(
            database, name="Eve", email="eve@example.com", password=PASSWORD, tenant="platform", passwords=cheap()
        )


async def test_suspending_twice_says_what_would_be_possible(world: World) -> None:
    ana = await world.user()
    await world.suspend(ana["id"])

    again = await world.suspend(ana["id"])

    assert again.status_code == 409
    assert (again.json()["current_state"], again.json()["allowed"]) == ("suspended", ["active", "inactive"])


async def test_lists_are_filtered_sorted_searched_and_paged(world: World) -> None:
    tenant = await world.tenant()
    names = ["Ana", "Bea", "Cid", "Dan", "Eve"]
    for name in names:
        await world.user(tenantId=tenant, name=name, email=f"{name.lower()}_1%@example.com")
    await world.user(tenantId=tenant, name="Operator", role="operator", email="operator@example.com")

    async def listed(**params: Any) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = {"tenantId": tenant, **params} | ({"cursor": cursor} if cursor else {})
            answer = await world.http.get("/v1/users", params=page, headers=world.root)
            assert answer.status_code == 200, answer.text
            found += [user["name"] for user in answer.json()["data"]["items"]]
            if (cursor := answer.json()["data"]["nextCursor"]) is None:
                return found

    assert await listed(role="customer", sort="name", limit=2) == names
    assert await listed(role="customer", sort="-name", limit=2) == names[::-1]
    assert await listed(role="customer", sort="createdAt", limit=1) == names
    assert await listed(role="customer", sort="-lastActiveAt,name", limit=2) == names
    assert await listed(search="EA") == ["Bea"]
    assert await listed(search="eve_1%") == ["Eve"]
    assert await listed(search="eve%1") == []
    assert await listed(role="operator") == ["Operator"]
    assert await listed(status="suspended") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "sort=password", "cursor=abc", "status=gone", "role=king",
        "tenantId=7", "search=" + "x" * 101, "search=%00", "stauts=active",
    ],
)  # fmt: skip
async def test_a_wrong_list_parameter_is_refused(query: str, world: World) -> None:
    answer = await world.http.get(f"/v1/users?{query}", headers=world.root)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("ids", ["", "7", ",".join(str(uuid.uuid4()) for _ in range(101))])
async def test_a_wrong_batch_is_refused(ids: str, world: World) -> None:
    assert (await world.http.get("/v1/users/batch", params={"ids": ids}, headers=world.root)).status_code == 400


async def test_the_most_recently_active_come_first(world: World) -> None:
    one, two = await world.user(), await world.user()
    await world.user()
    world.clock.advance(minutes=1)
    await world.tokens(two["email"])
    world.clock.advance(minutes=1)
    await world.tokens(one["email"])

    answer = await world.http.get(
        "/v1/users/most-active", params={"count": 2}, headers=await world.as_service("bff-admin")
    )

    assert [user["id"] for user in answer.json()["data"]] == [one["id"], two["id"]]
    assert entities.user(one["id"]) in answer.json()["entities"]


async def test_statistics_count_what_the_caller_sees(world: World) -> None:
    tenant = await world.tenant()
    _, admin = await world.member(tenantId=tenant, role="admin")
    ana = await world.user(tenantId=tenant)
    await world.user(tenantId=tenant)
    await world.suspend(ana["id"])

    counted = (await world.http.get("/v1/users/statistics", headers=admin)).json()["data"]

    assert counted == {
        "total": 3, "byStatus": {"active": 2, "suspended": 1}, "byRole": {"admin": 1, "customer": 2},
    }  # fmt: skip


async def test_changes_are_read_by_the_cache_worker_only(world: World) -> None:
    allowed = await world.http.get("/internal/changes", headers=await world.as_service("cache-worker"))
    refused = await world.http.get("/internal/changes", headers=world.root)

    assert (allowed.status_code, refused.status_code) == (200, 403)


async def test_a_service_reads_with_its_own_token_and_changes_nothing(world: World) -> None:
    ana = await world.user()
    bff = await world.as_service("bff-admin")

    assert (await world.seen(ana["id"], bff)).status_code == 200
    assert (await world.patch(ana["id"], bff, name="x")).status_code == 403
    assert (await world.http.get("/v1/users/me", headers=bff)).status_code == 403
    assert (await world.http.post("/v1/auth/logout", headers=bff)).status_code == 403


@pytest.mark.parametrize(
    ("client", "secret"),
    [("bff-admin", "wrong"), ("bff-admin", ""), ("nobody", ""), ("nobody", "secret of nobody")],
)
async def test_a_wrong_client_secret_gets_no_token(client: str, secret: str, world: World) -> None:
    credentials = {"clientId": client, "clientSecret": secret}
    answer = await world.http.post("/v1/service-tokens", json=credentials)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-credentials")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""}, {"name": "   "}, {"name": "a\x00b"}, {"name": None}, {"email": "no address"}, {"role": "king"},
        {"phone": "call me"}, {"locale": "english"}, {"password": PASSWORD}, {"status": "active"}, {"name": "x" * 121},
    ],
)  # fmt: skip
async def test_a_wrong_change_is_refused(changes: dict[str, Any], world: World) -> None:
    ana = await world.user()

    answer = await world.patch(ana["id"], **changes)

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_a_token_only_the_public_routes_answer(world: World) -> None:
    for method, path in [
        ("GET", "/v1/users"), ("GET", "/v1/users/me"), ("GET", f"/v1/users/{uuid.uuid4()}"), ("GET", "/v1/tenants"),
        ("POST", "/v1/auth/logout"), ("GET", "/internal/changes"), ("GET", "/v1/users/batch?ids=x"),
    ]:  # fmt: skip
        assert (await world.http.request(method, path)).status_code == 401, path
    assert (await world.http.get("/.well-known/jwks.json")).status_code == 200
    assert (await world.http.get("/health/ready")).status_code == 200
