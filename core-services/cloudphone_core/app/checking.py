"""A file that has arrived whole: put together, read, held against the store, and kept or refused with a sentence."""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import BinaryIO
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.apk import Apk, ApkRefused, read_apk, read_icon
from cloudphone_shared.contracts.upload import StorageFull, UploadedApk
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Unavailable

from . import uploads
from .models import AppRow, AppVersionRow, UploadRow
from .storage import Storage
from .uploads import Rules

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LARGEST_CODE = 2**53 - 1
AT_ONCE = 2
"""Files that one process reads at the same time."""
_LOOK_SECONDS = 0.05


class Refusal(msgspec.Struct, frozen=True):
    """`code` for programs, `detail` a sentence."""

    code: str
    detail: str


class _Read(msgspec.Struct, frozen=True):
    sha256: str
    apk: Apk | None = None
    icon: bytes | None = None
    refusal: Refusal | None = None


class Checks:
    """Checks uploads beside the requests, each once over all processes: whoever finds one unchecked may begin, and one
    whose checker is gone is taken up again."""

    def __init__(self, database: Database, storage: Storage, rules: Rules, now: Callable[[], datetime]) -> None:
        self._database, self._storage, self._rules, self._now = database, storage, rules, now
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="apk")
        self._running: set[asyncio.Task[None]] = set()

    async def soon(self, upload_id: UUID, within: float) -> None:
        """Begins, and waits for the end for `within` seconds, also where another process was first."""
        task = asyncio.create_task(self._safely(upload_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.wait([task])
                while await self._state_of(upload_id) == "checking":  # noqa: ASYNC110  # the other is another process
                    await asyncio.sleep(_LOOK_SECONDS)

    async def sweep(self) -> int:
        """Checks what is waiting; returns how many. Raises Unavailable."""
        async with self._database.reading() as session:
            waiting = await uploads.to_check(session, self._now())
        for upload_id in waiting:
            await self.check(upload_id)
        return len(waiting)

    async def check(self, upload_id: UUID) -> None:
        """Raises Unavailable: then it is tried again later."""
        seconds = self._rules.turn_seconds
        async with self._database.writing() as session:
            row = await uploads.claim_check(session, upload_id, seconds, self._now())
            if row is None or row.lock_token is None:
                return
            parts, token = await uploads.parts_of(session, upload_id), row.lock_token
        renewing = asyncio.create_task(self._renew(upload_id, token, seconds))
        try:
            read = await asyncio.get_running_loop().run_in_executor(
                self._threads, _read, self._storage, parts, uploads.apk_key(upload_id)
            )
            if read.icon:
                await self._storage.put(uploads.icon_key(upload_id), read.icon)
            await self._conclude(upload_id, token, read)
        finally:
            renewing.cancel()
        refused = await self._state_of(upload_id) == "refused"
        await self._storage.delete(*parts, *([uploads.apk_key(upload_id)] if refused else []))

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _safely(self, upload_id: UUID) -> None:
        try:
            await self.check(upload_id)
        except (Unavailable, StorageFull) as error:
            log.warning("upload_check_postponed", upload=str(upload_id), reason=str(error))
        except Exception:
            log.exception("upload_check_failed", upload=str(upload_id))

    async def _renew(self, upload_id: UUID, token: UUID, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds / 3)
            with contextlib.suppress(Unavailable):
                async with self._database.writing() as session:
                    await uploads.renew_turn(session, upload_id, token, seconds, self._now())

    async def _conclude(self, upload_id: UUID, token: UUID, read: _Read) -> None:
        async with self._database.writing() as session:
            row = await session.get(UploadRow, upload_id, with_for_update=True)
            if row is None or row.lock_token != token:
                return
            refusal = read.refusal or await self._against_store(session, row, read)
            if read.apk is not None:
                row.apk = msgspec.to_builtins(_shown(read.apk, read.sha256))
            row.icon_key = uploads.icon_key(upload_id) if read.icon and refusal is None else None
            row.state = "ready" if refusal is None else "refused"
            row.code, row.detail = (None, None) if refusal is None else (refusal.code, refusal.detail)
            row.lock_token = row.locked_until = None
        log.info("upload_checked", upload=str(upload_id), refused=refusal.code if refusal else None)

    async def _against_store(self, session: AsyncSession, row: UploadRow, read: _Read) -> Refusal | None:
        if row.wanted_sha256 and row.wanted_sha256 != read.sha256:
            return Refusal("sha256-mismatch", f"The file's SHA-256 is {read.sha256}, not the one that was announced")
        if read.apk is None:
            return Refusal("not-apk", "The file could not be read")
        return refused_by_platform(read.apk, self._rules.abis) or await refused_by_store(
            session, _shown(read.apk, read.sha256), row.tenant_id, row.app_id
        )

    async def _state_of(self, upload_id: UUID) -> str | None:
        """None where the upload is gone."""
        async with self._database.reading() as session:
            return await session.scalar(select(UploadRow.state).where(UploadRow.id == upload_id))


def refused_by_platform(apk: Apk, abis: tuple[str, ...]) -> Refusal | None:
    if not 1 <= apk.version_code <= LARGEST_CODE:
        return Refusal("version-code", f"The version code {apk.version_code} is not between 1 and {LARGEST_CODE}")
    if apk.split:
        return Refusal("split", "The file is one part of a split APK: upload the whole app as one APK")
    if apk.test_only:
        return Refusal("test-only", "The app is marked as test-only, and Android would not install it")
    if apk.abis and not set(apk.abis) & set(abis):
        its, ours = ", ".join(apk.abis), ", ".join(abis)
        return Refusal("no-abi-fits", f"The app's native code is for {its}, and the phones here run {ours}")
    return None


async def refused_by_store(
    session: AsyncSession, apk: UploadedApk, tenant_id: UUID | None, app_id: UUID | None
) -> Refusal | None:
    """Why the app's next version cannot be this one. Without `app_id` the store's app of that package is meant; where
    it has none, nothing speaks against a new one."""
    named = AppRow.id == app_id if app_id else AppRow.package_name == apk.package_name
    of_store = AppRow.tenant_id.is_(None) if tenant_id is None else AppRow.tenant_id == tenant_id
    statement = select(AppRow).where(named, AppRow.deleted_at.is_(None), *([] if app_id else [of_store]))
    app = (await session.scalars(statement)).one_or_none()
    if app is None:
        return Refusal("no-such-app", "The app that it was uploaded for is not there") if app_id else None
    if app.package_name != apk.package_name:
        detail = f"The file is {apk.package_name}, and the app it was uploaded for is {app.package_name}"
        return Refusal("other-package", detail)
    newest = select(AppVersionRow).where(AppVersionRow.app_id == app.id).order_by(AppVersionRow.version_code.desc())
    earlier = (await session.scalars(newest.limit(1))).one_or_none()
    if earlier is not None and apk.version_code <= earlier.version_code:
        detail = f"The file's version code is {apk.version_code}; the app has {earlier.version_code} already"
        return Refusal("downgrade", detail)
    signed = (await session.scalars(newest.where(AppVersionRow.signers != []).limit(1))).one_or_none()
    if signed is not None and not set(signed.signers) & set(apk.signers):
        return Refusal("other-signer", "The file is signed by somebody else than the app's earlier versions")
    return None


def _read(storage: Storage, parts: list[str], key: str) -> _Read:
    """In a thread. What was put together by an earlier attempt is put together again."""
    digest = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for part in parts:
            for chunk in storage.read_all(part):
                digest.update(chunk)
                yield chunk

    storage.put_all(key, chunks())
    sha256 = digest.hexdigest()
    try:
        with storage.open(key) as file:
            apk = read_apk(file)
            return _Read(sha256, apk, _icon(file))
    except ApkRefused as error:
        return _Read(sha256, refusal=Refusal(error.failure, error.detail))
    except Unavailable:
        raise
    except Exception:
        # Whatever the file does to its reader, it is checked once and not for ever.
        log.exception("apk_not_understood", key=key)
        return _Read(sha256, refusal=Refusal("INSTALL_FAILED_INVALID_APK", "The file cannot be read as an APK"))


def _icon(file: BinaryIO) -> bytes | None:
    try:
        return read_icon(file)
    except ApkRefused:
        return None


def _shown(apk: Apk, sha256: str) -> UploadedApk:
    return UploadedApk(
        package_name=apk.package,
        version_code=apk.version_code,
        version_name=apk.version_name,
        label=apk.label,
        min_sdk=apk.min_sdk,
        target_sdk=apk.target_sdk,
        abis=list(apk.abis),
        permissions=[permission for permission in apk.permissions if permission.isprintable()],
        signers=list(apk.signers),
        sha256=sha256,
        size=apk.size,
    )
