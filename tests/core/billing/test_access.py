"""Who may see and change what: tenants, customers, roles, and requests that make no sense."""

from collections.abc import Mapping
from typing import Any

import pytest

from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World
from tests.core.owners import problem

pytestmark = pytest.mark.anyio
GIFT = {"currency": "USD", "amount": 1, "reason": "sorry"}


class Acme:
    """One of everything, in one tenant."""

    def __init__(self, world: World, order: Mapping[str, Any], run: Mapping[str, Any], device_id: object) -> None:
        self.order_id = order["id"]
        self.run_id = run["runId"]
        self.reads = [
            f"/v1/orders/{self.order_id}",
            f"/v1/users/{world.ana.id}/orders",
            f"/v1/users/{world.ana.id}/balance",
            f"/v1/users/{world.ana.id}/transactions",
            f"/v1/users/{world.ana.id}/statement",
            f"/v1/users/{world.ana.id}/statement?format=csv",
            f"/v1/users/{world.ana.id}/usage",
            f"/v1/users/{world.ana.id}/usage/days",
            f"/v1/devices/{device_id}/usage",
            f"/v1/usage-records/{self.run_id}",
        ]
        self.writes: list[tuple[str, str, object]] = [
            ("POST", f"/v1/orders/{self.order_id}/cancel", {}),
            ("POST", f"/v1/users/{world.ana.id}/adjustments", GIFT),
            ("POST", "/v1/orders", {"planId": order["planId"], "userId": str(world.ana.id)}),
            (
                "POST",
                "/v1/usage-records",
                {
                    "runId": str(uuid7()), "deviceId": str(device_id), "userId": str(world.ana.id),
                    "startedAt": world.hour(-1),
                },
            ),
        ]  # fmt: skip


@pytest.fixture
async def acme(world: World) -> Acme:
    phone = world.owners.device(world.acme, world.ana.id)
    await world.ok("POST", f"/v1/users/{world.ana.id}/adjustments", world.admin, {**GIFT, "amount": 500})
    run = await world.run(phone.id, world.ana.id, -5, -4)
    return Acme(world, await world.order(), run["data"], phone.id)


async def test_another_tenant_meets_404_everywhere(world: World, acme: Acme) -> None:
    others = [
        world.staff(world.rival),
        world.staff(world.rival, "support"),
        world.customer(world.owners.user(world.rival).id, world.rival),
        world.customer(world.owners.user(world.acme, name="Ben").id, world.acme),
    ]
    for who in others:
        for path in acme.reads:
            response = await world.client.get(path, headers=who)
            assert response.status_code == 404, path
            assert problem(response)["code"] == "not-found"
        for method, path, body in acme.writes:
            response = await world.client.request(method, path, headers=who, json=body)
            assert response.status_code in (403, 404), (method, path)
            problem(response)
    kept = await world.ok("GET", f"/v1/orders/{acme.order_id}", world.admin)
    assert kept["data"]["state"] == "provisioning"
    assert (await world.ok("GET", acme.reads[2], world.bff))["data"]["available"] == 500


async def test_the_own_tenants_staff_and_the_customer_see_it(world: World, acme: Acme) -> None:
    for who in (world.staff(world.acme), world.staff(world.acme, "support"), world.as_ana, world.bff):
        for path in acme.reads:
            assert (await world.client.get(path, headers=who)).status_code == 200, path


async def test_a_foreign_order_looks_like_none(world: World, acme: Acme) -> None:
    rival = world.staff(world.rival)
    foreign = await world.client.get(f"/v1/orders/{acme.order_id}", headers=rival)
    absent_id = uuid7()
    absent = await world.client.get(f"/v1/orders/{absent_id}", headers=rival)
    assert problem(absent)["entities"] == {f"order:{absent_id}": 0}
    differing = {"requestId", "entities"}
    assert {k: v for k, v in problem(foreign).items() if k not in differing} == {
        k: v for k, v in problem(absent).items() if k not in differing
    }
    batch = await world.ok("GET", f"/v1/orders/batch?ids={acme.order_id},{absent_id},{absent_id}", rival)
    assert batch["data"]["found"] == {}
    assert set(batch["data"]["absent"]) == {acme.order_id, str(absent_id)}
    own = await world.ok("GET", f"/v1/orders/batch?ids={acme.order_id},{absent_id}", world.bff)
    shown = own["data"]["found"][acme.order_id]
    assert shown["entities"] == {f"order:{acme.order_id}": shown["data"]["version"]}
    assert own["data"]["absent"] == {str(absent_id): {f"order:{absent_id}": 0}}
    assert own["entities"] == {}


async def test_lists_and_statistics_stay_within_the_scope(world: World, acme: Acme) -> None:
    other = world.owners.user(world.rival)
    theirs = await world.order(world.customer(other.id, world.rival))

    async def listed(who: Mapping[str, str], query: str = "") -> set[str]:
        return set((await world.ok("GET", f"/v1/orders?limit=100{query}", who))["data"]["items"])

    assert await listed(world.as_ana) == {acme.order_id}
    assert await listed(world.staff(world.acme)) == {acme.order_id}
    assert await listed(world.staff(world.rival)) == {theirs["id"]}
    assert await listed(world.staff(world.rival), f"&tenantId={world.acme}") == set()
    assert {acme.order_id, theirs["id"]} <= await listed(world.bff)
    numbers = (await world.ok("GET", "/v1/billing/statistics", world.staff(world.rival)))["data"]
    assert numbers == {"orders": 1, "byState": {"provisioning": 1}, "revenueLast30Days": {}, "runningNow": 0}
    assert (await world.client.get("/v1/billing/statistics", headers=world.as_ana)).status_code == 403


async def test_statistics_count_what_was_earned_and_what_runs(world: World) -> None:
    phone = world.owners.device(world.acme)
    await world.run(phone.id, world.ana.id, -5, None)
    own = world.owners.device(world.acme, world.ana.id)
    plan = (await world.plan(price=250, currency="EUR"))["id"]
    for _ in range(2):
        await world.order(planId=plan, deviceId=str(own.id))
    await world.order(planId=plan)
    cancelled = await world.order(planId=plan)
    await world.ok("POST", f"/v1/orders/{cancelled['id']}/cancel", world.as_ana, {})
    answer = await world.ok("GET", "/v1/billing/statistics", world.staff(world.acme))
    assert answer["data"] == {
        "orders": 4,
        "byState": {"completed": 2, "provisioning": 1, "cancelled": 1},
        "revenueLast30Days": {"EUR": 500},
        "runningNow": 1,
    }


async def test_roles_do_what_their_permissions_say(world: World, acme: Acme) -> None:
    for role in ("operator", "support", "customer"):
        who = world.signer.headers(role=role, id=world.ana.id, tenant=world.acme)
        for method, path, body in (
            ("POST", "/v1/plans", {"name": "Cheap", "price": 0}),
            ("POST", f"/v1/users/{world.ana.id}/adjustments", GIFT),
            ("POST", "/v1/usage-records", acme.writes[-1][2]),
        ):
            response = await world.client.request(method, path, headers=who, json=body)
            assert response.status_code == 403, (role, path)
    assert (await world.client.get("/v1/plans")).status_code == 401
    response = await world.client.get("/v1/plans", headers={"Authorization": "Bearer x.y.z"})
    assert response.status_code == 401
    assert (await world.client.get("/internal/changes", headers=world.admin)).status_code == 403
    changes = await world.ok("GET", "/internal/changes", world.signer.service("cache-worker"))
    assert set(changes["data"]) == {"changes", "position", "incarnation"}


BAD = [
    ("GET", "/v1/orders?limit=0"),
    ("GET", "/v1/orders?limit=101"),
    ("GET", "/v1/orders?limit=many"),
    ("GET", "/v1/orders?limit=99999999999999999999999"),
    ("GET", "/v1/orders?cursor=AAAA"),
    ("GET", "/v1/orders?cursor=%F0%9F%98%80"),
    ("GET", "/v1/orders?sort=password"),
    ("GET", "/v1/orders?sort=-"),
    ("GET", "/v1/orders?sort=createdAt,amount,state,userName"),
    ("GET", "/v1/orders?state=lost"),
    ("GET", "/v1/orders?userId=ana"),
    ("GET", "/v1/orders?search=" + "x" * 101),
    ("GET", "/v1/orders?search=%00"),
    ("GET", "/v1/orders/batch"),
    ("GET", "/v1/orders/batch?ids=1,2"),
    ("GET", "/v1/orders/batch?ids=" + ",".join(str(uuid7()) for _ in range(101))),
    ("POST", "/v1/orders"),
    ("POST", "/v1/plans"),
]


@pytest.mark.parametrize(("method", "path"), BAD)
async def test_a_senseless_request_is_400(world: World, method: str, path: str) -> None:
    response = await world.client.request(method, path, headers=world.admin)
    assert response.status_code == 400, response.text
    problem(response)


BODIES: list[tuple[str, bytes]] = [
    ("/v1/plans", b"{"),
    ("/v1/plans", b"[]"),
    ("/v1/plans", b'{"name": "A\\u0000B", "price": 1}'),
    ("/v1/plans", b'{"name": "A", "price": -1}'),
    ("/v1/plans", b'{"name": "A", "price": 1.5}'),
    ("/v1/plans", b'{"name": "A", "price": 99999999999999999999}'),
    ("/v1/plans", b'{"name": "A", "price": 1, "currency": "usd"}'),
    ("/v1/plans", b'{"name": "A", "price": 1, "periodDays": 0}'),
    ("/v1/plans", b'{"name": "\\ud800", "price": 1}'),
    ("/v1/plans", b"\xff\xfe"),
    ("/v1/orders", b'{"planId": "x"}'),
    ("/v1/orders", b'{"planId": null}'),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_malformed_body_is_400(world: World, path: str, body: bytes) -> None:
    headers = {**world.admin, "Content-Type": "application/json"}
    response = await world.client.post(path, headers=headers, content=body)
    assert response.status_code == 400, response.text
    problem(response)


async def test_ids_that_are_none_and_keys_that_are_none(world: World) -> None:
    assert (await world.client.get("/v1/orders/42", headers=world.admin)).status_code == 404
    headers = {**world.admin, "Idempotency-Key": "with blank"}
    response = await world.client.post("/v1/plans", headers=headers, json={"name": "A", "price": 1})
    assert response.status_code == 400
    huge = await world.client.post("/v1/plans", headers=world.admin, json={"name": "A" * 2_000_000, "price": 1})
    assert huge.status_code == 413
    as_service = world.signer.headers(role="admin", id="not-a-uuid", scope="self")
    assert (await world.client.get("/v1/orders", headers=as_service)).status_code == 200
