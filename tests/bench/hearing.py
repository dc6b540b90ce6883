"""A reading process that says when it hears what: `python -m tests.bench.hearing REDIS_URL`.

First a line once every service's feed is heard, then one per change: nanoseconds since 1970, entity, version.
"""

import asyncio
import sys
import time
from collections.abc import Mapping

import uvloop

from cloudphone_cache.feed import Tail
from cloudphone_cache.knowledge import Knowledge
from cloudphone_cache.redis import parse
from cloudphone_shared.clients import SERVICES


class Aloud(Knowledge):
    def hear_change(self, service: str, seq: int, entities: Mapping[str, int]) -> None:
        super().hear_change(service, seq, entities)
        for entity, version in entities.items():
            sys.stdout.write(f"{time.time_ns()} {entity} {version}\n")
        sys.stdout.flush()


async def main(redis_url: str) -> None:
    knowledge = Aloud(SERVICES)
    reading = asyncio.create_task(Tail(parse(redis_url), knowledge).run())
    while knowledge.now_ms() >= knowledge.good_until:  # noqa: ASYNC110  # once, before anything is measured
        await asyncio.sleep(0.01)
    sys.stdout.write("0 listening 0\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    reading.cancel()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
