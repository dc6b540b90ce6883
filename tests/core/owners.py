"""Stands for the user and the device service where only whether they know an id matters."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import httpx
import jwt
import msgspec

from cloudphone_shared import entities
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.common import Answer, Many
from cloudphone_shared.contracts.device import Device, DeviceRun, Template, TemplateSummary
from cloudphone_shared.contracts.quota import Reservation
from cloudphone_shared.contracts.scheduler import Allocation
from cloudphone_shared.contracts.user import User
from cloudphone_shared.ids import uuid7
from tests.signing import Signer

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Owners:
    """Answers `/v1/users/{id}`, `/v1/devices/{id}` and `/v1/device-runs` with what it was told, to callers who may see
    it; 404 else. Keeps quota reservations, at most `quota` of them, and what allocations were confirmed.

    `away` names services that give no answer.
    """

    def __init__(self) -> None:
        self.users: dict[UUID, User] = {}
        self.devices: dict[UUID, Device] = {}
        self.runs: dict[UUID, DeviceRun] = {}
        self.templates: dict[UUID, Template] = {}
        self.reservations: dict[UUID, str] = {}
        self.quota = 1000
        self.confirmed: list[tuple[UUID, int]] = []
        self.away: set[str] = set()

    def user(self, tenant_id: UUID, *, name: str = "Ana", email: str = "ana@example.com", **fields: object) -> User:
        user = User(
            **{
                "id": uuid7(), "tenant_id": tenant_id, "tenant_name": "Acme", "name": name, "email": email,
                "role": "customer", "data_scope": "self", "status": "active", "created_at": _BEGAN,
                "updated_at": _BEGAN, "version": 10**12 + 1, **fields,
            }
        )  # fmt: skip
        self.users[user.id] = user
        return user

    def device(self, tenant_id: UUID, owner_id: UUID | None = None, *, name: str = "Pixel", **fields: object) -> Device:
        template = TemplateSummary(id=uuid7(), name="Android", android_version="14", width=1080, height=1920)
        device = Device(
            **{
                "id": uuid7(), "tenant_id": tenant_id, "name": name, "owner_id": owner_id, "owner_name": None,
                "owner_email": None, "state": "allocated" if owner_id else "idle", "desired_state": "idle",
                "provider": "simulated", "node": None, "template": template, "tags": [], "generation": 1,
                "run_id": None, "adb_host": None, "adb_port": None, "created_at": _BEGAN, "updated_at": _BEGAN,
                "version": 10**12 + 1, **fields,
            }
        )  # fmt: skip
        self.devices[device.id] = device
        return device

    def template(self, android: str = "13", abis: Sequence[str] = ("x86_64",)) -> TemplateSummary:
        """One that the device service knows more of."""
        template = Template(
            id=uuid7(), name="Android", android_version=android, cpu_cores=2, memory_mib=2048, storage_gib=8,
            width=720, height=1280, dpi=320, version=1, abis=list(abis),
        )  # fmt: skip
        self.templates[template.id] = template
        return TemplateSummary(id=template.id, name="Android", android_version=android, width=720, height=1280)

    def clients(self, signer: Signer, service: str) -> CoreClients:
        return CoreClients(
            lambda name: f"http://{name}.test",
            signer.identity(service),
            transport_of=lambda name: httpx.MockTransport(lambda request: self._answer(name, request)),
        )

    def _many(self, ids: list[UUID]) -> httpx.Response:
        there = {key: self.devices[key] for key in ids if key in self.devices}
        found = {str(key): Answer(data=device, entities={entities.device(key): 1}) for key, device in there.items()}
        absent = {str(key): {entities.device(key): 0} for key in ids if key not in there}
        answer = Answer(data=Many(found=found, absent=absent), entities={})
        return httpx.Response(200, content=msgspec.json.encode(answer))

    def _reserve(self, request: httpx.Request) -> httpx.Response:
        _, _, _, *rest = request.url.path.split("/")
        key = UUID(rest[0]) if rest else UUID(json.loads(request.content)["id"])
        state = {"commit": "committed", "release": "released"}[rest[1]] if rest else "held"
        before = self.reservations.get(key)
        taken = sum(each != "released" for each in self.reservations.values())
        if state == "held" and before == "released":
            return _refused("state-conflict")
        if state == "held" and before is None and taken >= self.quota:
            return _refused("quota-exceeded")
        self.reservations[key] = before if state == "held" and before else state
        reservation = Reservation(
            id=key, user_id=key, tenant_id=key, resource="devices", amount=1, state=self.reservations[key],
            created_at=_BEGAN, updated_at=_BEGAN,
        )  # fmt: skip
        return httpx.Response(200, content=msgspec.json.encode(Answer(data=reservation, entities={})))

    def _confirm(self, request: httpx.Request) -> httpx.Response:
        key, token = UUID(request.url.path.split("/")[3]), json.loads(request.content)["fencingToken"]
        self.confirmed.append((key, token))
        allocation = Allocation(
            id=key, request_id=key, tenant_id=key, user_id=key, device_id=key, node_id=key, order_id=None,
            saga_id=None, state="active", fencing_token=token, lease_until=None, created_at=_BEGAN,
            updated_at=_BEGAN, ended_reason=None,
        )  # fmt: skip
        return httpx.Response(200, content=msgspec.json.encode(Answer(data=allocation, entities={})))

    def _answer(self, service: str, request: httpx.Request) -> httpx.Response:
        if service in self.away:
            raise httpx.ConnectError("nobody is listening", request=request)
        if request.url.path.startswith("/v1/quota-reservations"):
            if "user-quotas" in self.away:
                raise httpx.ConnectError("nobody is listening", request=request)
            return self._reserve(request)
        if service == "scheduler":
            return self._confirm(request)
        if request.url.path == "/v1/device-runs":
            asked = [UUID(text) for text in request.url.params["ids"].split(",")]
            found = {str(key): Answer(data=self.runs[key], entities={}) for key in asked if key in self.runs}
            runs = Many(found=found, absent={str(key): {} for key in asked if key not in self.runs})
            return httpx.Response(200, content=msgspec.json.encode(Answer(data=runs, entities={})))
        _, _, kind, text = request.url.path.split("/", 3)
        if text == "batch/full":
            return self._many([UUID(each) for each in request.url.params["ids"].split(",")])
        key = UUID(text)
        if kind == "templates" and key in self.templates:
            answer = Answer(data=self.templates[key], entities={})
            return httpx.Response(200, content=msgspec.json.encode(answer))
        found = (self.users if kind == "users" else self.devices).get(key)
        entity = (entities.user if kind == "users" else entities.device)(key)
        if found is None or not _sees(request, found):
            problem = {"status": 404, "title": "Not found", "code": "not-found", "entities": {entity: 0}}
            return httpx.Response(404, json=problem)
        return httpx.Response(200, content=msgspec.json.encode(Answer(data=found, entities={entity: found.version})))


def _refused(code: str) -> httpx.Response:
    return httpx.Response(409, json={"status": 409, "title": "Refused", "code": code})


def _sees(request: httpx.Request, found: User | Device) -> bool:
    token = request.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    owner = found.id if isinstance(found, User) else found.owner_id
    return {
        "all": True,
        "tenant": claims["tenant"] == str(found.tenant_id),
        "self": claims["sub"] == str(owner),
    }[claims["scope"]]


def problem(response: httpx.Response) -> dict[str, object]:
    """The problem document of a refusal."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return json.loads(response.content)
