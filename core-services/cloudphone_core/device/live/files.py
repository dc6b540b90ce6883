"""Files of a phone: only below /sdcard, which apps share, and never by way of a link."""

from collections.abc import AsyncGenerator, AsyncIterator

from cloudphone_shared.contracts.phone import PhoneFile
from cloudphone_shared.errors import Conflict, FieldError, Invalid, NotFound

from ..adb import Adb, Entry

ROOT = "/sdcard"
MOST_BYTES = 256 << 20
_LONGEST_PATH, _LONGEST_NAME = 1000, 255


def parts_of(path: str) -> list[str]:
    """The names below /sdcard, none for the folder itself. Raises Invalid for what is no path below it."""
    first, *names = path.split("/")[1:] if path.startswith("/") else [""]
    if f"/{first}" != ROOT:
        raise _invalid(f"must be {ROOT} or below it")
    names = [name for name in names if name]
    for name in names:
        if name in (".", ".."):
            raise _invalid("must not have the names . and ..")
        if not name.isprintable():
            raise _invalid("must not have control characters")
        if len(_encoded(name)) > _LONGEST_NAME:
            raise _invalid(f"must not have a name of more than {_LONGEST_NAME} bytes")
    if len(_encoded(path)) > _LONGEST_PATH:
        raise _invalid(f"must not be longer than {_LONGEST_PATH} bytes")
    return names


async def listed(adb: Adb, address: str, path: str) -> list[PhoneFile]:
    """Folders and files by name. Raises Invalid, NotFound, PhoneAway."""
    names = parts_of(path)
    folder = "/".join([ROOT, *names])
    if names and not (await _way(adb, address, names))[-1].folder:
        raise NotFound(f"There is no folder {folder} on the phone")
    return [
        PhoneFile(
            path=f"{folder}/{entry.name}",
            folder=entry.folder,
            size=0 if entry.folder else entry.size,
            modified_at=entry.modified_at,
        )
        for entry in await adb.list_files(address, folder)
        if entry.folder or entry.file
    ]


async def pulled(adb: Adb, address: str, path: str) -> AsyncGenerator[bytes]:
    """The file's parts; the first has come when this returns. Raises Invalid, NotFound, Conflict, PhoneAway."""
    names = parts_of(path)
    file = "/".join([ROOT, *names])
    [*_, found] = await _way(adb, address, names) if names else [None]
    if found is None or not found.file:
        raise NotFound(f"There is no file {file} on the phone")
    if found.size > MOST_BYTES:
        raise Conflict(f"The file has {found.size} bytes, and no more than {MOST_BYTES} are passed on")
    parts = adb.pull(address, file)
    return _bounded(await anext(parts, b""), parts)


async def pushed(adb: Adb, address: str, path: str, content: AsyncIterator[bytes]) -> None:
    """Makes the folders it needs. Raises Invalid, Conflict, PhoneAway, PhoneRefused."""
    names = parts_of(path)
    if not names or path.endswith("/"):
        raise _invalid("must name a file")
    [*folders, file] = await _way(adb, address, names)
    if file.there and not file.file:
        raise Conflict("There is something else of that name on the phone")
    if any(folder.there and not folder.folder for folder in folders):
        raise Conflict("On the way to it there is something that is no folder")
    await adb.push(address, content, "/".join([ROOT, *names]))


async def _way(adb: Adb, address: str, names: list[str]) -> list[Entry]:
    """What is at each step of the way. Raises Invalid when one is a link, which may lead anywhere."""
    steps = ["/".join([ROOT, *names[: count + 1]]) for count in range(len(names))]
    found = await adb.look(address, steps)
    if any(entry.link for entry in found):
        raise _invalid("must not lead over a link")
    return found


async def _bounded(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """A file may have grown since it was looked at: then its answer breaks off, so that nobody takes it for whole."""
    sent = len(first)
    yield first
    async for part in rest:
        sent += len(part)
        if sent > MOST_BYTES:
            raise Conflict(f"The file has more than {MOST_BYTES} bytes by now")
        yield part


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _invalid("must be Unicode text") from None


def _invalid(message: str) -> Invalid:
    return Invalid(f"path {message}", errors=[FieldError(field="path", message=message)])
