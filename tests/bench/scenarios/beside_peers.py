"""The same screen from the product and from its peers, in alternated rounds: hits (checked or not) and misses."""

import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from tests.bench.figures import Figures
from tests.bench.peers import PEERS, Peer, install_node_packages
from tests.bench.scenarios.hits import VIEW, Target, measure
from tests.bench.scenarios.renames import renames
from tests.bench.stand import BenchServer, Stand
from tests.servers import Missing


async def peers(stand: Stand, figures: Figures) -> None:
    """FastAPI + cashews, Litestar + its ResponseCache, Fastify + ioredis: hits with and without checks, and misses."""
    running, failures = await _start(stand)
    async with AsyncExitStack() as stack:
        l1 = await stack.enter_async_context(stand.bff("l1"))
        l2 = await stack.enter_async_context(stand.bff("l2"))
        urls = _urls(l1, running)
        await _misses(stand, figures, urls)
        await renames(stand, figures, urls)
        for url in (l1.url + VIEW, l2.url + VIEW, *(f"{p.url}/{kind}" for p in running for kind in _KINDS)):
            await stand.fill(url, [f"/{device}" for device in stand.devices])
        targets = [
            Target("beside_peers_hit_l1", l1, l1.bench_port, VIEW, details="l1"),
            Target("beside_peers_hit_l1_unchecked", l1, l1.bench_port, "/bench/unchecked", details="l1"),
            Target("beside_peers_hit_l2", l2, l2.bench_port, VIEW, details="l2"),
            *(Target(f"peer_{peer.name}", peer, peer.port, "/checked/devices") for peer in running),
            *(Target(f"peer_{peer.name}_unchecked", peer, peer.port, "/devices") for peer in running),
        ]
        await measure(stand, figures, targets, [])
    for peer in running:
        await asyncio.to_thread(peer.remove)
    if failures:
        raise RuntimeError("; ".join(failures))


_KINDS = ("devices", "checked/devices")


async def _start(stand: Stand) -> tuple[list[Peer], list[str]]:
    """Those that run, and why others do not; one whose programs are not installed here is none of these."""
    running: list[Peer] = []
    failures: list[str] = []
    for name, command in PEERS.items():
        peer = Peer(name, command, stand.platform, stand.signer.jwk)
        try:
            if name == "fastify":
                await asyncio.to_thread(install_node_packages)
            await asyncio.to_thread(stand.serve, peer)
            running.append(peer)
        except Missing as reason:
            print(f"  {name} is left out: {reason}", flush=True)
        except Exception as error:
            failures.append(f"{name} did not start: {error}")
    return running, failures


def _urls(bff: BenchServer, running: Sequence[Peer]) -> dict[str, str]:
    return {"beside_peers": bff.url + VIEW, **{f"peer_{peer.name}": f"{peer.url}/checked/devices" for peer in running}}


async def _misses(stand: Stand, figures: Figures, urls: Mapping[str, str]) -> None:
    """Cold views one after the other, each target in turn; the first answers are compared with the product's."""
    await stand.forget("device:full:*")
    devices = stand.devices[: stand.effort.less(100, 20)]
    timings: dict[str, list[float]] = {name: [] for name in urls}
    headers = {"Authorization": f"Bearer {stand.tokens[0]}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for number, device in enumerate(devices):
            shown: dict[str, Any] = {}
            for name in list(urls) if number % 2 else reversed(urls):
                began = time.perf_counter()
                async with http.get(f"{urls[name]}/{device}") as answer:
                    body = await answer.read()
                timings[name].append((time.perf_counter() - began) * 1e3)
                if answer.status != 200:
                    raise RuntimeError(f"{name} answered {answer.status}: {body[:300]!r}")
                shown[name] = json.loads(body)
            if number == 0:
                _compare(shown)
    settled = len(devices) // 5
    for name, found in timings.items():
        for start in range(settled, len(found), settled):
            figures.add(f"{name}_miss_p50_ms", statistics.median(found[start : start + settled]), "ms")


def _compare(shown: dict[str, Any]) -> None:
    """Raises RuntimeError for a peer whose body says something else than the product's; the use goes on by itself."""
    ours = {**shown["beside_peers"], "usage": None}
    for name, body in shown.items():
        if {**body, "usage": None} != ours or body["usage"].keys() != shown["beside_peers"]["usage"].keys():
            raise RuntimeError(f"{name} shows something else: {body}")
