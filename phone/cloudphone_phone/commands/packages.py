"""pm, and the part of cmd that is the same."""

import errno

from cloudphone_phone.android.files import Staged
from cloudphone_phone.android.installing import InstallRefused
from cloudphone_phone.android.packages import SYSTEM, Options
from cloudphone_phone.shell.call import Call, CommandFailed, command
from cloudphone_phone.shell.streams import Source

_PART = 256 << 10


@command("pm")
async def pm(call: Call) -> int:
    return await _pm(call)


async def _pm(call: Call) -> int:
    _must_have_booted(call, "package")
    call.option("--user")
    verb, *call.arguments = call.arguments or [""]
    match verb:
        case "install":
            return await _install(call)
        case "uninstall":
            return await _uninstall(call)
        case "list":
            return await _list(call)
        case "path":
            return await _path(call)
        case "clear":
            return await _clear(call)
        case "grant" | "revoke":
            return 0
        case _:
            await call.complain(f"Unknown command: {verb}")
            return 255


@command("cmd")
async def cmd(call: Call) -> int:
    service, *call.arguments = call.arguments or [""]
    if service == "package":
        return await _pm(call)
    _must_have_booted(call, service)
    await call.complain(f"cmd: Can't find service: {service}")
    return 20


def _must_have_booted(call: Call, service: str) -> None:
    if not call.android.booted:
        raise CommandFailed(f"Can't find service: {service}", 20)


async def _install(call: Call) -> int:
    """A streamed one says its size by -S and sends its bytes; another names a file on the phone."""
    size = call.option("-S")
    for option in ("-i", "--install-location", "--abi", "--pkg", "--originating-uri", "--referrer"):
        call.option(option)
    downgrade, test, kept = call.flag("-d"), call.flag("-t"), call.flag("-R")
    options = Options(downgrade=downgrade, test=test, replace=not kept)
    paths = [argument for argument in call.arguments if not argument.startswith("-")]
    try:
        if size:
            await _install_from(call, call.source, _size(size), options)
        elif len(paths) == 1:
            path = call.path(paths[0])
            found = call.android.files.stat(path)
            if found is None:
                raise InstallRefused("INSTALL_FAILED_INVALID_URI", f"no such file {path}")
            await _install_from(call, call.android.files.source(path), found.size, options)
        else:
            raise CommandFailed("Error: name one APK", 255)
    except InstallRefused as refused:
        return await _failure(call, refused)
    await call.say("Success")
    return 0


def _size(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise CommandFailed(f"Error: bad size {text}", 255)
    return int(text)


async def _install_from(call: Call, source: Source, size: int, options: Options) -> None:
    """Raises InstallRefused."""
    if size > call.android.files.free:
        raise InstallRefused("INSTALL_FAILED_INSUFFICIENT_STORAGE", "not enough space")
    try:
        with call.android.files.stage() as staged:
            await _receive(staged, source, size)
            await call.android.packages.install(staged, options)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InstallRefused("INSTALL_FAILED_INSUFFICIENT_STORAGE", "not enough space") from None


async def _receive(staged: Staged, source: Source, size: int) -> None:
    while staged.size < size:
        part = await source.read(min(_PART, size - staged.size))
        if not part:
            raise InstallRefused("INSTALL_FAILED_INVALID_APK", f"{staged.size} of {size} bytes came")
        staged.write(part)


async def _uninstall(call: Call) -> int:
    call.flag("-k")
    name = (call.arguments or [""])[-1]
    try:
        await call.android.packages.uninstall(name)
    except InstallRefused as refused:
        return await _failure(call, refused)
    await call.say("Success")
    return 0


async def _failure(call: Call, refused: InstallRefused) -> int:
    await call.say(f"Failure [{refused}]")
    return 1


async def _list(call: Call) -> int:
    kind, *rest = call.arguments or [""]
    if kind == "users":
        await call.say("Users:", "\tUserInfo{0:Owner:c13} running")
        return 0
    if kind != "packages":
        await call.complain(f"Error: unknown list type '{kind}'")
        return 255
    flags = {argument[1] for argument in rest if len(argument) == 2 and argument.startswith("-")}
    wanted = next((argument for argument in rest if not argument.startswith("-")), "")
    names = _names(call, flags)
    await call.say(*(_listed(call, name, flags, rest) for name in sorted(names) if wanted in name))
    return 0


def _names(call: Call, flags: set[str]) -> list[str]:
    """-3: only those that were installed, -s: only the system's, -d: those that are switched off, which none is."""
    if "d" in flags:
        return []
    names = [] if "3" in flags else list(SYSTEM)
    return names if "s" in flags else [*names, *call.android.packages.installed]


def _listed(call: Call, name: str, flags: set[str], rest: list[str]) -> str:
    package = call.android.packages.installed.get(name)
    apk = f"{package.apk if package else _system_apk(name)}=" if "f" in flags else ""
    version = f" versionCode:{package.version_code if package else call.android.model.sdk}"
    return f"package:{apk}{name}{version if '--show-versioncode' in rest else ''}"


async def _path(call: Call) -> int:
    name = (call.arguments or [""])[-1]
    package = call.android.packages.installed.get(name)
    if package is None and name not in SYSTEM:
        return 1
    await call.say(f"package:{package.apk if package else _system_apk(name)}")
    return 0


async def _clear(call: Call) -> int:
    name = (call.arguments or [""])[-1]
    if not call.android.packages.clear(name):
        await call.say("Failed")
        return 1
    call.android.activities.stop(name)
    await call.say("Success")
    return 0


def _system_apk(name: str) -> str:
    return f"/system/app/{name}/{name}.apk"
