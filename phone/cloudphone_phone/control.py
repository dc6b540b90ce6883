"""A farm asked from another process: one JSON document a line, over a UNIX socket that only its owner may open."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from .farm import FarmRefused, Labelled, Phones, Plan, Refusal, Status
from .faults import Faults
from .volume import Copied

_LONGEST_LINE = 8 << 20
_LONGEST_ADDRESS = 100
"""The system takes 107 bytes, and a data folder may lie deep."""


class Create(msgspec.Struct, tag="create"):
    plan: Plan


class Act(msgspec.Struct, tag="act"):
    verb: Literal["start", "stop", "reboot", "crash"]
    name: str


class Inflict(msgspec.Struct, tag="inflict"):
    name: str
    faults: Faults


class Remove(msgspec.Struct, tag="remove"):
    name: str


class Inspect(msgspec.Struct, tag="inspect"):
    name: str


class Find(msgspec.Struct, tag="find"):
    labels: dict[str, str]


class CopyVolume(msgspec.Struct, tag="copy-volume"):
    volume: str
    to: str
    labels: dict[str, str] = {}
    anew: bool = False


class RemoveVolume(msgspec.Struct, tag="remove-volume"):
    volume: str


class FindVolumes(msgspec.Struct, tag="find-volumes"):
    labels: dict[str, str]


Asked = Create | Act | Inflict | Remove | Inspect | Find | CopyVolume | RemoveVolume | FindVolumes


class Answer(msgspec.Struct, omit_defaults=True):
    """One of `result` and `refused`, with its sentence."""

    result: Any = None
    refused: Refusal | None = None
    detail: str = ""


@contextlib.asynccontextmanager
async def controlled(farm: Phones, socket: Path) -> AsyncGenerator[None]:
    """Takes what others ask of `farm`, as long as this lasts."""
    _remove(socket)
    talking: set[asyncio.Task[Any]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            await _talk(farm, reader, writer)
        finally:
            talking.discard(task)
            writer.close()

    with _short(socket) as address:
        server = await asyncio.start_unix_server(talk, address, limit=_LONGEST_LINE)
    _restrict(socket)
    try:
        yield
    finally:
        server.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        _remove(socket)


async def _talk(farm: Phones, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ValueError):
        while line := await reader.readline():
            try:
                answer = Answer(result=await _do(farm, msgspec.json.decode(line, type=Asked)))
            except FarmRefused as refused:
                answer = Answer(refused=refused.code, detail=refused.detail)
            except msgspec.MsgspecError as error:
                answer = Answer(refused="invalid", detail=str(error))
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()


async def _do(farm: Phones, asked: Asked) -> Any:
    match asked:
        case Create(plan):
            return await farm.create(plan)
        case Act(verb, name):
            act = {"start": farm.start, "stop": farm.stop, "reboot": farm.reboot, "crash": farm.crash}[verb]
            return await act(name)
        case Inflict(name, faults):
            return await farm.inflict(name, faults)
        case Remove(name):
            return await farm.remove(name)
        case Inspect(name):
            return await farm.inspect(name)
        case Find(labels):
            return await farm.find(labels)
        case CopyVolume(volume, to, labels, anew):
            return await farm.copy_volume(volume, to, labels, anew=anew)
        case RemoveVolume(volume):
            return await farm.remove_volume(volume)
        case FindVolumes(labels):
            return await farm.volumes(labels)


@contextlib.contextmanager
def _short(socket: Path) -> Generator[str]:
    """Its path as the system takes it: a long one goes by its folder's descriptor."""
    if len(os.fsencode(socket)) <= _LONGEST_ADDRESS:
        yield str(socket)
        return
    folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{socket.name}"
    finally:
        os.close(folder)


def _restrict(path: Path) -> None:
    path.chmod(0o600)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


class FarmAway(ConnectionError):
    """The farm's process gives no answer: whether it did what was asked is not known, and asking again is safe."""


class RemoteFarm:
    """Phones of another process. One connection a question: it has nothing to keep and nothing to mend."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def create(self, plan: Plan) -> Status:
        return await self._ask(Create(plan), Status)

    async def start(self, name: str) -> Status:
        return await self._ask(Act("start", name), Status)

    async def stop(self, name: str) -> Status:
        return await self._ask(Act("stop", name), Status)

    async def reboot(self, name: str) -> Status:
        return await self._ask(Act("reboot", name), Status)

    async def crash(self, name: str) -> Status:
        return await self._ask(Act("crash", name), Status)

    async def inflict(self, name: str, faults: Faults) -> Status:
        return await self._ask(Inflict(name, faults), Status)

    async def remove(self, name: str) -> None:
        await self._ask(Remove(name), None)

    async def inspect(self, name: str) -> Status | None:
        return await self._ask(Inspect(name), Status | None)

    async def find(self, labels: Mapping[str, str]) -> list[Status]:
        return await self._ask(Find(dict(labels)), list[Status])

    async def copy_volume(
        self, volume: str, to: str, labels: Mapping[str, str] | None = None, *, anew: bool = False
    ) -> Copied:
        return await self._ask(CopyVolume(volume, to, dict(labels or {}), anew), Copied)

    async def remove_volume(self, volume: str) -> None:
        await self._ask(RemoveVolume(volume), None)

    async def volumes(self, labels: Mapping[str, str]) -> list[Labelled]:
        return await self._ask(FindVolumes(dict(labels)), list[Labelled])

    async def _ask(self, asked: Asked, kind: Any) -> Any:
        """Raises FarmRefused and FarmAway."""
        try:
            with _short(self._socket) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=_LONGEST_LINE)
            try:
                writer.write(msgspec.json.encode(asked) + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
        except OSError as error:
            raise FarmAway(f"The phones' process gives no answer: {error}") from None
        if not line.endswith(b"\n"):
            raise FarmAway("The phones' process ended before it answered")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.refused:
            raise FarmRefused(answer.refused, answer.detail)
        return msgspec.convert(answer.result, kind)
