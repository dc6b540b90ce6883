"""What the app service does by the clock: uploads that nobody ended go, checks that died are done."""

from datetime import datetime

from cloudphone_shared.database import Database

from . import uploads
from .storage import Storage


async def sweep_uploads(database: Database, storage: Storage, at: datetime) -> int:
    """Removes expired uploads with all that they left; returns how many. Raises Unavailable."""
    swept = 0
    while True:
        async with database.writing() as session:
            expired = await uploads.claim_expired(session, at)
        for _, keys in expired:
            await storage.delete(*keys)
        if not expired:
            return swept
        async with database.writing() as session:
            await uploads.forget(session, [upload_id for upload_id, _ in expired])
        swept += len(expired)
