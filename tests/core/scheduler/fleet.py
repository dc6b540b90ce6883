"""The device service as the scheduler asks it, over what the test has told of."""

import httpx
import msgspec

from cloudphone_shared import entities
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.common import Answer, Many, Page
from cloudphone_shared.contracts.device import Device, Node, Template
from tests.signing import Signer

PAGE = 2


class Fleet:
    """Answers pages of two, so that there are several. `away`: it gives no answer."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.devices: dict[str, Device] = {}
        self.templates: dict[str, Template] = {}
        self.away = False

    def clients(self, signer: Signer) -> CoreClients:
        return CoreClients(
            lambda name: f"http://{name}.test",
            signer.identity("scheduler"),
            transport_of=lambda name: httpx.MockTransport(self._answer),
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("nobody is listening", request=request)
        _, _, kind, *rest = request.url.path.split("/")
        if rest == ["batch", "full"]:
            return self._many(request.url.params["ids"].split(","))
        known = {"nodes": self.nodes, "devices": self.devices, "templates": self.templates}[kind]
        if rest:
            found = known.get(rest[0])
            if found is None:
                problem = {"status": 404, "title": "Gone", "code": "not-found", "entities": {f"node:{rest[0]}": 10**14}}
                return httpx.Response(404, json=problem)
            return _answered(found)
        start = int(request.url.params.get("cursor", "0"))
        items = list(known.values())[start : start + PAGE]
        more = str(start + PAGE) if start + PAGE < len(known) else None
        return _answered(Page(items=[item.id for item in items] if kind == "devices" else items, next_cursor=more))

    def _many(self, ids: list[str]) -> httpx.Response:
        found = {key: Answer(data=self.devices[key], entities={}) for key in ids if key in self.devices}
        absent = {key: {entities.device(key): 10**14} for key in ids if key not in self.devices}
        return _answered(Many(found=found, absent=absent))


def _answered(data: object) -> httpx.Response:
    return httpx.Response(200, content=msgspec.json.encode(Answer(data=data, entities={})))
