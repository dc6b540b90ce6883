"""id, whoami, uname, date, uptime, sleep, ps, top, df, free, ifconfig"""

import asyncio
from datetime import UTC, datetime

from cloudphone_phone.shell.call import Call, CommandFailed, command

_LONGEST_SLEEP = 86_400.0


@command("id")
async def id_(call: Call) -> None:
    await call.say("uid=2000(shell) gid=2000(shell) groups=2000(shell),3003(inet) context=u:r:shell:s0")


@command("whoami")
async def whoami(call: Call) -> None:
    await call.say("shell")


@command("uname")
async def uname(call: Call) -> None:
    flags = call.takes("a", "s", "n", "r", "v", "m")
    machine = "aarch64" if call.android.model.abis[0].startswith("arm64") else "x86_64"
    facts = {"s": "Linux", "n": "localhost", "r": "5.15.0-cloudphone", "v": "#1 SMP", "m": machine}
    await call.say(
        " ".join(fact for name, fact in facts.items() if name in flags or "a" in flags or (not flags and name == "s"))
    )


@command("date")
async def date(call: Call) -> None:
    now = datetime.fromtimestamp(call.android.clock(), UTC)
    wanted = next((argument[1:] for argument in call.arguments if argument.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    await call.say(now.strftime(wanted.replace("%s", str(int(now.timestamp())))[:1000]))


@command("sleep")
async def sleep(call: Call) -> None:
    try:
        seconds = float((call.arguments or [""])[0].removesuffix("s"))
    except ValueError:
        raise CommandFailed("needs a number of seconds") from None
    if not 0 <= seconds <= _LONGEST_SLEEP:
        raise CommandFailed(f"{seconds} is not between 0 and {_LONGEST_SLEEP}")
    await asyncio.sleep(seconds)


@command("uptime")
async def uptime(call: Call) -> None:
    vitals = call.android.vitals
    now = datetime.fromtimestamp(call.android.clock(), UTC).strftime("%H:%M:%S")
    load = vitals.load * call.android.model.cores
    minutes = int(vitals.uptime) // 60
    await call.say(f" {now} up {minutes} min,  0 users,  load average: {load:.2f}, {load:.2f}, {load:.2f}")


@command("ps")
async def ps(call: Call) -> None:
    await call.say("USER           PID  PPID     VSZ    RSS WCHAN            ADDR S NAME")
    await call.say(f"{'root':<12} {1:5} {0:5} {10_000:7} {4_000:6} {'0':<16} {'0':>4} S init")
    for app in call.android.activities.running.values():
        await call.say(f"{'u0_a100':<12} {app.pid:5} {1:5} {1_000_000:7} {92_160:6} {'0':<16} {'0':>4} S {app.package}")


@command("top")
async def top(call: Call) -> None:
    """One look, whatever was asked for."""
    android = call.android
    cores, used, total = android.model.cores, android.vitals.memory_used >> 10, android.model.memory_bytes >> 10
    busy = round(100 * cores * android.vitals.load)
    await call.say(
        f"Tasks: {len(android.activities.running) + 1} total",
        f"  Mem: {total:>9}K total, {used:>9}K used, {total - used:>9}K free",
        f"{100 * cores}%cpu {busy:>3}%user   0%nice   0%sys {100 * cores - busy:>3}%idle",
        "  PID USER         PR  NI VIRT  RES  SHR S[%CPU] %MEM     TIME+ ARGS",
    )
    for app in android.activities.running.values():
        load = busy if app is android.activities.front else 0
        await call.say(f"{app.pid:5} u0_a100      20   0 1.0G  90M  40M S {load:4.1f}  2.2   0:00.10 {app.package}")


@command("df")
async def df(call: Call) -> None:
    human = "h" in call.takes("h", "k")
    files = call.android.files
    await call.say(
        "Filesystem      1K-blocks      Used Available Use% Mounted on"
        if not human
        else "Filesystem       Size  Used Avail Use% Mounted on"
    )
    used, free = files.capacity - files.free, files.free
    shown = [f"{n / (1 << 30):.1f}G" if human else str(n >> 10) for n in (files.capacity, used, free)]
    for device, mount in (("/dev/block/dm-1", "/data"), ("/dev/fuse", "/storage/emulated")):
        await call.say(
            f"{device:<15} {shown[0]:>9} {shown[1]:>9} {shown[2]:>9} {100 * used // files.capacity:>3}% {mount}"
        )


@command("free")
async def free(call: Call) -> None:
    total, used = call.android.model.memory_bytes, call.android.vitals.memory_used
    await call.say(
        "\t\ttotal        used        free      shared     buffers",
        f"Mem:\t{total:>13}{used:>12}{total - used:>12}{0:>12}{0:>12}",
    )


@command("ifconfig", "ip")
async def network(call: Call) -> None:
    """The phone has no network of its own to show."""
    await call.say("lo        Link encap:Local Loopback", "          inet addr:127.0.0.1  Mask:255.0.0.0 ")
