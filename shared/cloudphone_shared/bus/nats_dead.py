"""Dead letters on NATS: a stream of their own, one subject per queue."""

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from nats.js.errors import NotFoundError

from .nats_layout import Layout
from .port import DeadLetter
from .subscription import decode

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.api import RawStreamMsg


class DeadLetters:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    async def park(self, jetstream: "JetStreamContext", queue: str, message: "Msg", reason: str) -> None:
        delivered = message.metadata
        headers = {
            "Nats-Msg-Id": f"{queue}:{delivered.sequence.stream}",
            "X-Queue": queue,
            "X-Attempt": str(delivered.num_delivered),
            "X-Reason": quote(reason, safe=" :,'()"),
        }
        await jetstream.publish(
            self._layout.dead(queue), message.data, stream=self._layout.dead_stream, headers=headers
        )

    async def waiting(
        self, jetstream: "JetStreamContext", queue: str, limit: int | None = None
    ) -> "AsyncIterator[tuple[int, DeadLetter]]":
        """The queue's letters with their numbers in the stream, oldest first."""
        number, count = 1, 0
        while limit is None or count < limit:
            try:
                raw = await jetstream.get_msg(
                    self._layout.dead_stream, seq=number, subject=self._layout.dead(queue), next=True
                )
            except NotFoundError:
                return
            seq = raw.seq or 0
            yield seq, _letter(queue, raw)
            number, count = seq + 1, count + 1

    async def replay(self, jetstream: "JetStreamContext", queue: str, ids: Collection[str] | None) -> int:
        count = 0
        last = (await jetstream.stream_info(self._layout.dead_stream)).state.last_seq
        async for number, letter in self.waiting(jetstream, queue):
            if number > last:
                break
            if ids is None or letter.id in ids:
                await jetstream.publish(
                    self._layout.redrive(queue),
                    letter.body,
                    stream=self._layout.stream,
                    headers={"Nats-Msg-Id": f"{queue}:{letter.id}"},
                )
                await jetstream.delete_msg(self._layout.dead_stream, number)
                count += 1
        return count


def _letter(queue: str, raw: "RawStreamMsg") -> DeadLetter:
    headers: dict[str, str] = raw.headers or {}  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return DeadLetter(
        id=str(raw.seq),
        queue=queue,
        reason=unquote(headers.get("X-Reason", "")),
        attempts=int(headers.get("X-Attempt", 1)),
        # The stream's time, not the handler's: it runs as the numbers do.
        since=raw.time or datetime.fromtimestamp(0, UTC),
        body=raw.data or b"",
        envelope=decode(raw.data or b""),
    )
