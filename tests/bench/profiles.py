"""Where a BFF's time goes: `python -m tests.bench.profiles` samples it with py-spy while it answers from L1, from L2,
and while it composes one cold view after the other.

Prints, for the thread that runs the loop, each function's share with what it calls and alone. The samples stay in
build/profile-<name>.txt, which speedscope and flamegraph.pl read.
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import uvloop

from tests.bench.load import run
from tests.bench.scenarios.hits import ready
from tests.bench.scenarios.misses import cold
from tests.bench.stand import BenchServer, Effort, Stand
from tests.servers import program

SECONDS = 4
SHOWN = 25
_LOOP = "Runner.run"
_LINE = re.compile(r":\d+\)")


async def profile(name: str, bff: BenchServer, work: Awaitable[object]) -> None:
    """Raises Missing without py-spy."""
    assert bff.process
    path = Path(f"build/profile-{name}.txt")
    path.parent.mkdir(exist_ok=True)
    spy = program("py-spy", Path(sys.executable).parent)
    sampling = await asyncio.create_subprocess_exec(
        spy, "record", "--pid", str(bff.process.pid), "--duration", str(SECONDS),
        "--rate", "300", "--format", "raw", "--output", str(path), stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await work
    await sampling.wait()
    print(f"\n{name}\n{summary(await asyncio.to_thread(path.read_text))}", flush=True)


def summary(samples: str) -> str:
    """Of samples `frame;frame;… count`: the functions with the largest shares of the loop's thread."""
    whole: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    total = 0
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        if not any(frame.startswith(_LOOP) for frame in frames):
            continue
        total += int(count)
        alone[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    lines = ["   all  alone"]
    for frame, count in whole.most_common(SHOWN):
        lines.append(f"{count / total:6.1%} {alone[frame] / total:6.1%}  {frame}")
    return "\n".join(lines)


async def main(stand: Stand) -> None:
    await stand.prepare()
    await stand.forget("device:full:*")
    async with stand.bff("l1") as bff, aiohttp.ClientSession() as http:

        async def one_after_the_other() -> None:
            for device in stand.devices:
                await cold(stand, http, bff, device)

        await profile("miss", bff, one_after_the_other())
    for layer in ("l1", "l2"):
        async with stand.bff(layer) as bff:
            requests = await ready(stand, bff)
            await profile(layer, bff, run("127.0.0.1", bff.bench_port, requests, seconds=SECONDS))


if __name__ == "__main__":
    stand = Stand(Effort(1, SECONDS, quick=False))
    try:
        stand.start()
        uvloop.run(main(stand))
    finally:
        stand.remove()
