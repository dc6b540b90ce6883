"""cat, rm, mkdir, rmdir, mv, cp, touch, chmod, cd, pwd, and the checksums"""

import hashlib

from cloudphone_phone.shell.call import Call, CommandFailed, command
from cloudphone_phone.shell.streams import Source


@command("cat")
async def cat(call: Call) -> None:
    for argument in call.arguments or ["-"]:
        source: Source = call.source if argument == "-" else call.android.files.source(call.path(argument))
        while part := await source.read(64 << 10):
            await call.out.write(part)


@command("rm")
async def rm(call: Call) -> int:
    flags = call.takes("r", "R", "f")
    if not call.arguments and "f" not in flags:
        raise CommandFailed("Needs 1 argument")
    status = 0
    for argument in call.arguments:
        try:
            call.android.files.remove(call.path(argument), recursive=bool(flags & {"r", "R"}))
        except FileNotFoundError:
            if "f" not in flags:
                await call.complain(f"rm: {argument}: No such file or directory")
                status = 1
        except OSError as error:
            await call.complain(f"rm: {argument}: {error.strerror}")
            status = 1
    return status


@command("mkdir")
async def mkdir(call: Call) -> None:
    parents = "p" in call.takes("p", "m")
    for argument in call.arguments:
        call.android.files.make_folder(call.path(argument), parents=parents)


@command("rmdir")
async def rmdir(call: Call) -> None:
    for argument in call.arguments:
        call.android.files.remove_folder(call.path(argument))


@command("mv")
async def mv(call: Call) -> None:
    call.takes("f", "n")
    if len(call.arguments) != 2:
        raise CommandFailed("Needs 2 arguments")
    call.android.files.move(*map(call.path, call.arguments))


@command("cp")
async def cp(call: Call) -> None:
    call.takes("f", "p")
    if len(call.arguments) != 2:
        raise CommandFailed("Needs 2 arguments")
    source, target = map(call.path, call.arguments)
    if call.android.files.names(target) is not None:
        target = f"{target}/{source.rsplit('/', 1)[-1]}"
    reading = call.android.files.source(source)
    with call.android.files.stage() as staged:
        while part := await reading.read():
            staged.write(part)
        staged.move_to(target, 0o660)


@command("touch")
async def touch(call: Call) -> None:
    for argument in call.arguments:
        path = call.path(argument)
        if call.android.files.stat(path) is None:
            call.android.files.sink(path, append=False)
        else:
            call.android.files.set_times(path, call.android.clock())


@command("chmod", "chown", "sync")
async def permit(call: Call) -> None:
    """Everything in reach already belongs to the shell, and is as safe as it gets."""


@command("cd")
async def cd(call: Call) -> int:
    path = call.path((call.arguments or ["/"])[0])
    if call.android.files.names(path) is None:
        await call.complain(f"/system/bin/sh: cd: {path}: No such file or directory")
        return 2
    call.shell.folder = path.rstrip("/") or "/"
    return 0


@command("pwd")
async def pwd(call: Call) -> None:
    await call.say(call.shell.folder)


@command("md5sum", "sha1sum", "sha256sum", "sha512sum")
async def checksum(call: Call) -> None:
    name = call.name.rsplit("/", 1)[-1].removesuffix("sum")
    for argument in call.arguments or ["-"]:
        source: Source = call.source if argument == "-" else call.android.files.source(call.path(argument))
        sum_ = hashlib.new(name, usedforsecurity=False)
        while part := await source.read(64 << 10):
            sum_.update(part)
        await call.say(f"{sum_.hexdigest()}  {argument}")
