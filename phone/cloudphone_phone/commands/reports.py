"""dumpsys: what the system's services say of themselves, as far as programs read it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from cloudphone_phone.android.packages import SYSTEM
from cloudphone_phone.android.system import Android
from cloudphone_phone.shell.call import Call, CommandFailed, command
from cloudphone_phone.volume import Package

Report = Callable[[Android, list[str]], Iterator[str]]


@command("dumpsys")
async def dumpsys(call: Call) -> None:
    if not call.android.booted:
        raise CommandFailed("Can't find service manager", 20)
    if call.flag("-l"):
        await call.say("Currently running services:", *(f"  {name}" for name in sorted(_REPORTS)))
        return
    call.option("-t")
    name, *arguments = call.arguments or [""]
    report = _REPORTS.get(name)
    if report is None:
        raise CommandFailed(f"Can't find service: {name}")
    await call.say(*report(call.android, arguments))


def _battery(android: Android, _: list[str]) -> Iterator[str]:
    yield "Current Battery Service state:"
    facts = {
        "AC powered": "true",
        "USB powered": "false",
        "Wireless powered": "false",
        "Max charging current": 0,
        "Max charging voltage": 0,
        "Charge counter": 10_000,
        "status": 2,
        "health": 2,
        "present": "true",
        "level": 100,
        "scale": 100,
        "voltage": 4200,
        "temperature": 250,
        "technology": "Li-ion",
    }
    yield from (f"  {name}: {value}" for name, value in facts.items())


def _window(android: Android, _: list[str]) -> Iterator[str]:
    front = android.activities.front
    yield "WINDOW MANAGER WINDOWS (dumpsys window windows)"
    yield f"  mCurrentFocus=Window{{{front.pid:x} u0 {front.package}/{front.activity}}}"
    yield f"  mFocusedApp=ActivityRecord{{{front.pid:x} u0 {front.package}/{front.activity} t1}}"


def _activity(android: Android, _: list[str]) -> Iterator[str]:
    yield "ACTIVITY MANAGER ACTIVITIES (dumpsys activity activities)"
    for app in reversed(android.activities.running.values()):
        yield f"  ACTIVITY {app.package}/{app.activity} {app.pid:x} pid={app.pid}"
    front = android.activities.front
    yield f"    mResumedActivity: ActivityRecord{{{front.pid:x} u0 {front.package}/{front.activity} t1}}"


def _package(android: Android, arguments: list[str]) -> Iterator[str]:
    names = arguments or sorted(android.packages.installed)
    yield "Packages:"
    for name in names:
        package = android.packages.installed.get(name)
        if package is not None:
            yield from _about(package)
        elif name in SYSTEM:
            sdk, release = android.model.sdk, android.model.release
            yield f"  Package [{name}] ({abs(hash(name)) & 0xFFFFFFF:x}):"
            yield f"    versionCode={sdk} minSdk={sdk} targetSdk={sdk}"
            yield f"    versionName={release}"
        elif arguments:
            yield f"Unable to find package: {name}"


def _about(package: Package) -> Iterator[str]:
    mark = int(package.signers[0][:8], 16) if package.signers else 0
    yield f"  Package [{package.name}] ({mark:x}):"
    yield f"    codePath=/data/app/{package.folder}"
    yield f"    primaryCpuAbi={package.abi or 'null'}"
    yield f"    versionCode={package.version_code} minSdk={package.min_sdk} targetSdk={package.target_sdk}"
    yield f"    versionName={package.version_name or 'null'}"
    yield f"    signatures=PackageSignatures{{{mark:x} version:3, signatures:[{mark:x}], past signatures:[]}}"
    yield f"    pkgFlags=[ {'DEBUGGABLE ' if package.debuggable else ''}HAS_CODE ALLOW_CLEAR_USER_DATA ]"
    yield f"    firstInstallTime={_moment(package.installed_at)}"
    yield f"    lastUpdateTime={_moment(package.updated_at)}"
    yield "    requested permissions:"
    yield from (f"      {permission}" for permission in package.permissions)


def _meminfo(android: Android, _: list[str]) -> Iterator[str]:
    total, used = android.model.memory_bytes >> 10, android.vitals.memory_used >> 10
    yield f"Total RAM: {total:,}K (status normal)"
    yield f" Free RAM: {total - used:,}K"
    yield f" Used RAM: {used:,}K"


def _cpuinfo(android: Android, _: list[str]) -> Iterator[str]:
    load = android.vitals.load
    busy = load * android.model.cores
    yield f"Load: {busy:.2f} / {busy:.2f} / {busy:.2f}"
    front = android.activities.front
    yield f"  {100 * load:.1f}% {front.pid}/{front.package}: {100 * load:.1f}% user + 0% kernel"
    yield f"{100 * load:.1f}% TOTAL: {100 * load:.1f}% user + 0% kernel"


def _diskstats(android: Android, _: list[str]) -> Iterator[str]:
    files = android.files
    yield f"Data-Free: {files.free >> 10}K / {files.capacity >> 10}K total = {100 * files.free // files.capacity}% free"


def _power(android: Android, _: list[str]) -> Iterator[str]:
    yield f"mWakefulness={'Awake' if android.screen.awake else 'Asleep'}"
    yield f"mHoldingDisplaySuspendBlocker={'true' if android.screen.awake else 'false'}"


def _display(android: Android, _: list[str]) -> Iterator[str]:
    size = f"width={android.model.width}, height={android.model.height}"
    yield f"  mViewports=[DisplayViewport{{valid=true, displayId=0, orientation=0, {size}}}]"


def _surfaces(android: Android, _: list[str]) -> Iterator[str]:
    yield 'Display 1 (HWC display 0): port=0 pnpId=CLP displayName="Cloudphone"'


_REPORTS: dict[str, Report] = {
    "SurfaceFlinger": _surfaces,
    "activity": _activity,
    "battery": _battery,
    "cpuinfo": _cpuinfo,
    "diskstats": _diskstats,
    "display": _display,
    "meminfo": _meminfo,
    "package": _package,
    "power": _power,
    "window": _window,
}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
