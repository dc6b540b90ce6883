"""Webhooks: signed, sent again until they are taken, or as badly as the faults want it."""

import asyncio
import contextlib
import hashlib
import hmac
import time

import httpx
import msgspec
import structlog

from .books import Books, Thing
from .faults import Faults

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LONGEST_WAIT_SECONDS = 60.0
GIVEN_UP_AFTER = 50
"""Attempts."""


def signed(event: Thing, secret: str, at: int | None = None) -> tuple[bytes, str]:
    """The body and its `Stripe-Signature`."""
    body = msgspec.json.encode(event)
    moment = str(int(time.time()) if at is None else at)
    mac = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return body, f"t={moment},v1={mac.hexdigest()}"


class Sender:
    """Sends to `url` what the books owe."""

    def __init__(self, books: Books, faults: Faults, url: str, secret: str) -> None:
        self._books = books
        self._faults = faults
        self._url = url
        self._secret = secret
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=10) as client:
            while True:
                if self._faults.webhooks != "hold":
                    await self._round(client)
                due = self._books.next_due()
                wait = 60.0 if due is None or self._faults.webhooks == "hold" else max(0.02, due - time.time())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), min(wait, 60.0))
                self._woken.clear()

    async def _round(self, client: httpx.AsyncClient) -> None:
        owed = self._books.owed(due=time.time())
        if self._faults.webhooks == "reversed":
            owed.reverse()
        for number, event, attempts in owed:
            if self._faults.webhooks == "lose" or attempts >= GIVEN_UP_AFTER:
                self._books.paid_off([number])
                continue
            taken = False
            for _ in range(2 if self._faults.webhooks == "twice" else 1):
                taken = await self._send(client, event)
            if taken:
                self._books.paid_off([number])
            else:
                self._books.put_off(number, time.time() + min(LONGEST_WAIT_SECONDS, 0.5 * 2**attempts))

    async def _send(self, client: httpx.AsyncClient, event: Thing) -> bool:
        body, signature = signed(event, self._secret)
        try:
            answer = await client.post(
                self._url, content=body, headers={"Stripe-Signature": signature, "Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            log.info("webhook_not_taken", type=event["type"], reason=type(error).__name__)
            return False
        if not answer.is_success:
            log.info("webhook_not_taken", type=event["type"], status=answer.status_code)
        return answer.is_success
