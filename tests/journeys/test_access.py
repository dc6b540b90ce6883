"""Nobody sees or changes what is another's, by whatever endpoint; customers never see what is for administrators."""

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.apks import apk
from tests.conditions import eventually
from tests.journeys.client import Person, Staff
from tests.journeys.conftest import OnNats
from tests.uploading import publish_apk

pytestmark = pytest.mark.anyio

_BODIES: dict[str, object] = {
    "AllocationConfirm": {"fencingToken": 1},
    "AllocationRelease": {"fencingToken": 1},
    "AllocationRenew": {"fencingToken": 1, "leaseSeconds": 60},
    "ArrearsSet": {"reason": "envy"},
    "GrantCreate": {"email": "eve@example.com", "seconds": 60},
    "InputCreate": {"events": [{"type": "tap", "x": 1, "y": 1}]},
    "ReviewCreate": {"rating": 1},
    "RestoreCreate": {"snapshotId": str(UUID(int=1))},
    "SnapshotCreate": {"name": "Mine"},
    "AppPatch": {"name": "Taken"},
    "AdjustmentCreate": {"amount": 1, "currency": "USD", "reason": "envy"},
    "AdjustmentDecision": {"reason": "envy"},
    "BillToSet": {"name": "Mine"},
    "BudgetSet": {"amount": 1},
    "CouponPatch": {"active": False},
    "CreditNoteCreate": {"reason": "envy"},
    "InvoiceTermsSet": {"daysToPay": 0},
    "OrderRefund": {"reason": "envy"},
    "PlanChange": {"planId": str(UUID(int=1))},
    "PlanRevise": {"price": 1},
    "QuotaSet": {"limit": 0},
    "RulePatch": {"name": "Taken"},
    "RuleRevise": {"definition": {"rate": "1"}},
    "SagaCancel": {"reason": "envy"},
    "SubscriptionPatch": {"autoRenew": False},
    "AppVersionCreate": {"versionCode": 99, "versionName": "9.9", "sha256": "a" * 64, "size": 1},
    "DevicePatch": {"name": "Taken"},
    "InstallationPatch": {"state": "uninstalling"},
    "NodePatch": {"name": "Taken"},
    "OrderCancel": {},
    "PlanPatch": {"name": "Taken"},
    "TemplatePatch": {"name": "Taken"},
    "UserPatch": {"name": "Taken"},
    "UserSuspend": {"reason": "because"},
}
_SHARED = {"plan_id", "node_id", "template_id", "run_id"}
"""What belongs to the whole installation: who may read may read it."""


_GUESSED = (
    "allocation_id", "grant_id", "operation_id", "report_id", "request_id", "review_id", "snapshot_id",
    "adjustment_id", "coupon_id", "invoice_id", "payment_id", "reconciliation_id", "rule_id", "saga_id",
    "subscription_id", "transfer_id",
)  # fmt: skip
"""What the victim has none of, and a guess would not find."""


_PLACES = {"number": "1", "resource": "devices"}
"""What is within something that has an id."""


class Victim:
    """Something of every kind in one tenant, and what it looked like."""

    def __init__(self, admin: Staff) -> None:
        self._admin = admin
        self.ids: dict[str, str] = {}
        self._before: list[object] = []

    async def settle(self, owner: Person) -> "Victim":
        admin, ids = self._admin, self.ids
        ids["user_id"], ids["device_id"] = owner.ids["user"], owner.ids["device"]
        ids["plan_id"] = (await admin.json("/admin/plans"))["items"][0]["id"]
        ids["node_id"] = (await admin.json("/admin/nodes"))["items"][0]["id"]
        ids["template_id"] = (await admin.json("/admin/templates"))["items"][0]["id"]
        ids |= {name: str(uuid4()) for name in ("run_id", *_GUESSED)} | _PLACES
        ids["tenant_id"] = (await admin.json(f"/admin/users/{ids['user_id']}"))["user"]["tenantId"]
        await admin.give(ids["user_id"], 9_999)
        order = {"planId": ids["plan_id"], "deviceId": ids["device_id"], "userId": ids["user_id"]}
        ids["order_id"] = (await admin.write("POST", "/admin/orders", order))["id"]
        async with Staff(admin.platform, "operator", "aurora") as operator:
            content = apk(f"example.a{uuid4().hex[:8]}", label="Chess")
            version = await publish_apk(operator.http, content, url=operator.platform.url("app"))
            wanted = {"deviceId": ids["device_id"], "appVersionId": version["id"]}
            ids["installation_id"] = (await operator.write("POST", "/admin/installations", wanted))["id"]
            ids["app_id"], ids["app_version_id"] = version["appId"], version["id"]
            ids["version_id"], ids["upload_id"] = version["id"], await _begun_upload(operator)
            # No phone lives here: what is to be installed would fail by itself, in its own time.
            await operator.write("POST", f"/admin/installations/{ids['installation_id']}/cancel", {})
        await eventually(self._at_rest)
        self._before = await self._look()
        return self

    async def _at_rest(self) -> bool:
        device = await self._whole(f"/admin/devices/{self.ids['device_id']}")
        return device["operation"] is None and device["applications"] == []

    async def unharmed(self) -> bool:
        return await self._look() == self._before

    async def _look(self) -> list[object]:
        ids = self.ids
        paths = [f"/admin/devices/{ids['device_id']}", f"/admin/users/{ids['user_id']}"]
        paths += [f"/admin/orders/{ids['order_id']}", f"/admin/apps/{ids['app_id']}", f"/admin/plans/{ids['plan_id']}"]
        return [_without_times(await self._whole(path)) for path in [*paths, "/admin/nodes", "/admin/templates"]]

    async def _whole(self, path: str) -> Any:
        async def complete() -> Any:
            answer = await self._admin.read(path)
            assert answer.status_code == 200, answer.text
            return answer if answer.headers.get("X-View-Complete") != "false" else None

        return (await eventually(complete)).json()


async def _begun_upload(operator: Staff) -> str:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    answer = await operator.http.post("/admin/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def _without_times(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: _without_times(value) for name, value in body.items() if not name.endswith("At")}
    return [_without_times(each) for each in body] if isinstance(body, list) else body


async def _operations(person: Person) -> list[tuple[str, str, str]]:
    """Method, path and the name of the body of everything in the BFF's OpenAPI."""
    document = await person.json("/schema/openapi.json")
    found: list[tuple[str, str, str]] = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            found.append((method.upper(), path, content.get("schema", {}).get("$ref", "").rpartition("/")[2]))
    return found


async def _attack(person: Person, ids: dict[str, str], names: set[str] | None = None) -> dict[str, httpx.Response]:
    """Every operation that names something by id, asked about `ids`; only parameters of `names` where given."""
    answers: dict[str, httpx.Response] = {}
    for method, path, body in await _operations(person):
        parameters = set(re.findall(r"{(\w+)}", path))
        if parameters and (names is None or parameters <= names):
            asked = {**_BODIES, **_bodies_about(ids)}.get(body, {})
            answers[f"{method} {path}"] = await _request(person, method, path.format_map(ids), asked)
    return answers


def _bodies_about(ids: dict[str, str]) -> dict[str, object]:
    return {"DeviceAssign": {"ownerId": ids["user_id"]}, "AppInstall": {"appVersionId": ids["app_version_id"]}}


def _refusals(what: str) -> tuple[int, ...]:
    shared = re.findall(r"{(\w+)}", what)[0] in _SHARED
    return (200, 403, 404) if what.startswith("GET") and shared else (403, 404)


async def _request(person: Person, method: str, path: str, body: object) -> httpx.Response:
    if path.endswith("/content"):
        return await person.http.request(method, path, params={"path": "/sdcard/note"}, content=b"mine")
    if "/uploads/" in path and method in ("HEAD", "PATCH", "DELETE"):
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        return await person.http.request(method, path, headers=headers, content=b"mine" if method == "PATCH" else b"")
    if method == "GET" and path.endswith("/plan-change"):
        return await person.http.get(path, params={"planId": str(UUID(int=1))})
    return await person.http.request(method, path, json=body)


async def test_an_administrator_of_another_tenant_finds_nothing_by_any_endpoint(
    admin: Staff, customer: Person, platform: OnNats
) -> None:
    victim = await Victim(admin).settle(customer)
    async with Staff(platform, "admin", "basalt") as stranger:
        answers = await _attack(stranger, victim.ids)
        assert len(answers) > 60
        let_in = {
            what: f"{answer.status_code} {answer.text[:200]}"
            for what, answer in answers.items()
            if answer.status_code not in _refusals(what)
        }
        assert not let_in
        ids, plan = victim.ids, victim.ids["plan_id"]
        for path, body in (
            ("/admin/orders", {"planId": plan, "userId": ids["user_id"]}),
            ("/admin/orders", {"planId": plan, "deviceId": ids["device_id"]}),
            ("/admin/installations", {"deviceId": ids["device_id"], "appVersionId": ids["app_version_id"]}),
        ):
            refused = await stranger.http.post(path, json=body)
            assert refused.status_code in (403, 404, 409, 422), f"{path} {body}: {refused.status_code} {refused.text}"
        for listing in ("devices?ownerId", "orders?userId"):
            assert (await stranger.json(f"/admin/{listing}={ids['user_id']}"))["items"] == []
        assert (await stranger.json("/admin/users?search=" + customer.email))["items"] == []
        other = await stranger.new_device()
        owned = await stranger.http.post(f"/admin/devices/{other['id']}/assign", json={"ownerId": ids["user_id"]})
        assert owned.status_code == 400, owned.text
    assert await victim.unharmed()


async def test_a_customer_finds_nothing_of_another_customer(admin: Staff, customer: Person) -> None:
    victim = await Victim(admin).settle(customer)
    async with await admin.new_customer("Eve") as eve:
        answers = await _attack(eve, victim.ids)
        assert len(answers) > 20
        # The store is everybody's in the tenant.
        let_in = {
            what: f"{answer.status_code} {answer.text[:200]}"
            for what, answer in answers.items()
            if answer.status_code != 404 and " /apps/" not in what
        }
        assert let_in == {}
        for body in ({"planId": victim.ids["plan_id"], "deviceId": victim.ids["device_id"]},):
            refused = await eve.http.post("/my/orders", json=body)
            assert refused.status_code in (403, 404, 409, 422), refused.text
        for path in ("/my/devices", "/my/orders"):
            assert victim.ids["user_id"] not in (await eve.read(path)).text
    assert await victim.unharmed()


async def test_a_customers_token_opens_nothing_in_the_console(platform: OnNats, customer: Person) -> None:
    token = customer.http.headers["Authorization"].removeprefix("Bearer ")
    ids = {name: str(uuid4()) for name in ("user_id", "device_id", "order_id", "app_id", "plan_id", "node_id")}
    ids |= {name: str(uuid4()) for name in ("template_id", "run_id", "installation_id", "version_id", "upload_id")}
    ids |= {name: str(uuid4()) for name in (*_GUESSED, "tenant_id")} | _PLACES
    ids |= {"device_id": customer.ids["device"], "user_id": customer.ids["user"]}
    async with Person(platform, "bff-admin", token) as intruder:
        for method, path, body in await _operations(intruder):
            if path.startswith("/admin/"):
                answer = await _request(intruder, method, path.format_map(ids), _BODIES.get(body, {}))
                assert answer.status_code == 403, f"{method} {path}: {answer.status_code} {answer.text}"


async def test_a_view_that_an_administrator_warmed_shows_a_customer_no_field_of_administrators(
    admin: Staff, customer: Person
) -> None:
    me, device = customer.ids["user"], customer.ids["device"]
    full = (await admin.json(f"/admin/devices/{device}"))["device"]
    await asyncio.gather(
        admin.json(f"/admin/users/{me}"), admin.json(f"/admin/devices?ownerId={me}"), admin.json("/admin/dashboard")
    )
    hidden = ("tenantId", "node", "nodeId", "adbHost", "adbPort", "provider", "generation", "runId", "dataScope")
    hidden += ("ownerEmail", "desiredState", "status", "role", "lastActiveAt")
    assert {"tenantId", "node", "adbHost", "provider"} <= full.keys()
    for path in ("/my/home", "/my/devices", f"/my/devices/{device}", "/my/profile", "/my/orders", "/my/usage"):
        for _ in range(2):
            text = (await customer.read(path)).text
            assert not [name for name in hidden if f'"{name}"' in text], f"{path}: {text}"
            assert full["tenantId"] not in text
