"""Publishing to JetStream in order, over a connection of its own that is never revived.

A client that reconnects sends what was left in its buffer before anything else: the end of a batch whose beginning was
lost. Here a connection that breaks takes its buffer along, so a batch arrives as a whole or its beginning does.
"""

# pyright: reportUnknownMemberType=false
# nats-py's parameters are partly untyped.

import asyncio
from collections.abc import Sequence
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from ..events.envelope import Envelope
from .nats_layout import Layout
from .port import BusRefused, BusUnavailable
from .subscription import HEARTBEAT_LIFE, encode, is_heartbeat

SLICE = 1000
"""Publishes that may be under way at a time."""


class Publisher:
    def __init__(self, url: str, layout: Layout, patience: float) -> None:
        self._url, self._layout, self._patience = url, layout, patience
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        client, self._client, self._jetstream = self._client, None, None
        if client and not client.is_closed:
            await client.close()

    async def publish(self, envelopes: Sequence[Envelope]) -> None:
        for start in range(0, len(envelopes), SLICE):
            await self._publish(envelopes[start : start + SLICE], start)

    async def _publish(self, envelopes: Sequence[Envelope], before: int) -> None:
        confirms: list[asyncio.Future[Any]] = []
        failure: Exception | None = None
        try:
            async with asyncio.timeout(self._patience):
                jetstream = await self._connected()
                for envelope in envelopes:
                    confirms.append(await self._send(jetstream, envelope))  # noqa: PERF401 (kept when one fails)
                await asyncio.wait(confirms)
        except (NatsError, TimeoutError, OSError) as error:
            failure = error
            if confirms:
                await asyncio.wait(confirms, timeout=0 if isinstance(error, TimeoutError) else self._patience)
        stored = next((place for place, confirm in enumerate(confirms) if not _stored(confirm)), len(confirms))
        if stored < len(confirms):
            failure = confirms[stored].exception() if confirms[stored].done() else failure  # pyright: ignore[reportAssignmentType]
        for confirm in confirms:
            confirm.cancel()
        if stored < len(envelopes):
            raise _reason(failure, before + stored) from failure

    async def _send(self, jetstream: JetStreamContext, envelope: Envelope) -> "asyncio.Future[Any]":
        return await jetstream.publish_async(
            self._layout.subject(envelope.type),
            encode(envelope),
            wait_stall=self._patience,
            headers={"Nats-Msg-Id": envelope.event_id.hex},
            msg_ttl=HEARTBEAT_LIFE if is_heartbeat(envelope) else None,
        )

    async def _connected(self) -> JetStreamContext:
        async with self._connecting:
            if self._client is None or self._jetstream is None or not self._client.is_connected:
                await self.close()
                client = Client()
                await client.connect(
                    self._url, allow_reconnect=False, ping_interval=5, error_cb=_quiet, connect_timeout=2
                )
                self._client, self._jetstream = client, client.jetstream(timeout=self._patience)
            return self._jetstream


async def _quiet(_: Exception) -> None:
    """The publish that suffers from it tells."""


def _stored(confirm: "asyncio.Future[Any]") -> bool:
    return confirm.done() and not confirm.cancelled() and confirm.exception() is None


def _reason(failure: BaseException | None, confirmed: int) -> BusRefused | BusUnavailable:
    if isinstance(failure, MaxPayloadError) or (isinstance(failure, APIError) and failure.code == 400):
        return BusRefused(repr(failure), confirmed=confirmed)
    return BusUnavailable(repr(failure) if failure else "no confirm in time", confirmed=confirmed)
