"""The provider for trying out remembers what it was asked, and tells what happened until it is heard."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import stripe

from cloudphone_deploy.card_provider import api
from cloudphone_deploy.card_provider.books import Books
from cloudphone_deploy.card_provider.faults import Faults, parse
from cloudphone_deploy.card_provider.money import Money
from cloudphone_deploy.card_provider.sender import Sender
from cloudphone_shared.http.app import create_app
from tests.conditions import eventually
from tests.signing import client_of

pytestmark = pytest.mark.anyio

CHECKOUT = {
    "mode": "payment", "line_items[0][quantity]": "1", "line_items[0][price_data][unit_amount]": "500",
    "line_items[0][price_data][currency]": "usd", "metadata[payment_id]": "p", "expand[]": "payment_intent",
}  # fmt: skip


@asynccontextmanager
async def asking(books: Books) -> AsyncIterator[httpx.AsyncClient]:
    money = Money(books, "http://card.test")
    async with client_of(create_app("card", api.routes(money, Faults(), "sk", lambda: None))) as client:
        client.headers["Authorization"] = "Bearer sk"
        yield client


async def test_a_key_gets_the_same_answer_for_ever_and_over_a_restart(tmp_path: Path) -> None:
    keyed = {"Idempotency-Key": "checkout:1"}
    ids: set[str] = set()
    for _ in range(2):
        books = Books(tmp_path / "books.sqlite")
        async with asking(books) as client:
            ids |= {(await client.post("/v1/checkout/sessions", data=CHECKOUT, headers=keyed)).json()["id"]}
            other = await client.post("/v1/checkout/sessions", data={**CHECKOUT, "mode": "setup"}, headers=keyed)
            assert other.json()["error"]["type"] == "idempotency_error"
            stranger = await client.get(f"/v1/checkout/sessions/{min(ids)}", headers={"Authorization": "Bearer x"})
            assert stranger.status_code == 401
            [listed] = (await client.get("/v1/checkout/sessions?limit=100")).json()["data"]
            assert (listed["id"], listed["metadata"], listed["amount_total"]) == (min(ids), {"payment_id": "p"}, 500)
        books.close()
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("how", "told"), [("send", ["a", "b"]), ("twice", ["a", "a", "b", "b"]), ("reversed", ["b", "a"]), ("lose", [])]
)
async def test_what_happened_is_told_until_it_is_heard(tmp_path: Path, how: str, told: list[str]) -> None:
    heard: list[str] = []
    turned_away = 1 if how == "send" else 0

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turned_away
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        body = await reader.readexactly(int(lines["content-length"]))
        assert stripe.WebhookSignature.verify_header(body, lines["stripe-signature"], "whsec", 300)
        if turned_away:
            turned_away -= 1
            writer.write(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            heard.append(json.loads(body)["data"]["object"]["id"])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    books, faults = Books(tmp_path / "books.sqlite"), Faults()
    faults.webhooks = how  # type: ignore[assignment]
    money = Money(books, "http://card.test")
    with books.changing():
        money.tell("thing.happened", {"id": "a"})
        money.tell("thing.happened", {"id": "b"})
    port = server.sockets[0].getsockname()[1]
    sender = asyncio.create_task(Sender(books, faults, f"http://127.0.0.1:{port}/", "whsec").run())
    await eventually(lambda: not books.owed())
    sender.cancel()
    await asyncio.wait([sender])
    server.close()
    books.close()
    assert (heard if how != "send" else sorted(heard)) == told


def test_a_fault_is_said_in_a_word() -> None:
    fault = parse("intent.capture:cut-after:3:0.5")
    assert (fault.on, fault.how, fault.times, fault.seconds) == ("intent.capture", "cut-after", 3, 0.5)
    assert parse("*:slow").times == 1
    with pytest.raises(ValueError, match="how"):
        parse("*:explode")
