"""Answers that are there already, each beside its limits: rounds alternate, every target once a round."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

from tests.bench.figures import Figures
from tests.bench.load import request, run, volley
from tests.bench.stand import CONNECTIONS, BenchServer, Stand, cpu_seconds
from tests.servers import Server

VIEW = "/admin/devices"


class Target(NamedTuple):
    """`details` is how Cache-Status ends for what is wanted; `path` is followed by a device's id if `by_device`."""

    name: str
    server: Server
    port: int
    path: str
    by_device: bool = True
    status: int = 200
    details: str | None = None


async def hits(stand: Stand, figures: Figures) -> None:
    """L1, L2 and 304, beside a constant (bare, and with the same checks), the same through redis-py, and the peers."""
    async with AsyncExitStack() as stack:
        l1 = await stack.enter_async_context(stand.bff("l1"))
        l2 = await stack.enter_async_context(stand.bff("l2"))
        targets = [
            Target("constant", l1, l1.bench_port, "/bench/constant", by_device=False),
            Target("constant_checked", l1, l1.bench_port, "/bench/constant-checked", by_device=False),
            Target("hit_l1", l1, l1.bench_port, VIEW, details="l1"),
            Target("hit_l1_unchecked", l1, l1.bench_port, "/bench/unchecked", details="l1"),
            Target("hit_l2", l2, l2.bench_port, VIEW, details="l2"),
            Target("not_modified", l1, l1.bench_port, VIEW, status=304),
            Target("redis_py", l1, l1.bench_port, "/bench/redis-py"),
        ]
        paths = [f"{VIEW}/{device}" for device in stand.devices]
        etags = [headers["ETag"] for headers in await stand.fill(l1.url, paths)]
        await stand.fill(l2.url, paths)
        figures.add("view_bytes", stand.view_bytes, "bytes")
        await measure(stand, figures, targets, etags)


async def measure(stand: Stand, figures: Figures, targets: Sequence[Target], etags: Sequence[str]) -> None:
    rounds, seconds, _ = stand.effort
    requests = {target.name: _requests(stand, target, etags) for target in targets}
    for target in targets:
        await known(target.port, requests[target.name], target.status)
    for number in range(rounds):
        for target in targets if number % 2 == 0 else reversed(targets):
            await _round(figures, target, requests[target.name], seconds)


async def ready(stand: Stand, bff: BenchServer) -> list[bytes]:
    """Requests for screens, one per caller, after every screen was composed and every caller came once."""
    await stand.fill(bff.url + VIEW, [f"/{device}" for device in stand.devices])
    requests = [
        request("GET", f"{VIEW}/{stand.devices[number % len(stand.devices)]}", token)
        for number, token in enumerate(stand.tokens)
    ]
    await known(bff.bench_port, requests)
    return requests


async def known(port: int, requests: Sequence[bytes], status: int = 200) -> None:
    """Every request once, so that the rounds meet callers whose tokens were seen before. Raises RuntimeError."""
    load = await volley("127.0.0.1", port, requests, connections=CONNECTIONS, status=status, within=60)
    if load.answers < len(requests) or load.refused:
        raise RuntimeError(f"of {len(requests)} callers {load.answers} were answered, {load.refused} not with {status}")


def _requests(stand: Stand, target: Target, etags: Sequence[str]) -> list[bytes]:
    """One per caller, each for the next device."""
    made: list[bytes] = []
    for number, token in enumerate(stand.tokens):
        at = number % len(stand.devices)
        path = f"{target.path}/{stand.devices[at]}" if target.by_device else target.path
        known = f"If-None-Match: {etags[at]}\r\n" if target.status == 304 else ""
        made.append(request("GET", path, token, headers=known))
    return made


async def _round(figures: Figures, target: Target, requests: Sequence[bytes], seconds: float) -> None:
    name = target.name
    before = cpu_seconds(target.server)
    load = await run(
        "127.0.0.1", target.port, requests, connections=CONNECTIONS, seconds=seconds, warm=0.3, status=target.status
    )
    figures.add(f"{name}_cpu_us", (cpu_seconds(target.server) - before) / load.total * 1e6, "µs of the server's CPU")
    figures.add(f"{name}_rps", load.rps, "requests/s")
    figures.add(f"{name}_p50_ms", load.p50_ms, "ms")
    figures.add(f"{name}_p99_ms", load.p99_ms, "ms")
    if load.refused:
        print(f"  {name}: {load.refused} of {load.answers} answers were not {target.status}", file=sys.stderr)
        figures.add(f"{name}_refused", load.refused, "answers")
    if target.details is not None:
        wanted = sum(count for detail, count in load.details.items() if detail.endswith(target.details))
        figures.add(f"{name}_share", wanted / max(1, sum(load.details.values())), "of answers")
