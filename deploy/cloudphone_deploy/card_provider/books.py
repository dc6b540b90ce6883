"""What the provider knows, in one SQLite file: its objects, the answers it gave by Idempotency-Key, and the webhooks
that it still owes."""

import secrets
import sqlite3
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

Thing = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS things (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, created INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS things_by_kind ON things (kind, number);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, asked BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS owed (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL
);
"""  # noqa: E501


class Books:
    """Every change within `changing()` is kept whole or not at all."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def changing(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def make(self, prefix: str, kind: str, **fields: Any) -> Thing:
        thing = {"id": f"{prefix}_{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), **fields}
        self._db.execute(
            "INSERT INTO things (id, kind, created, body) VALUES (?, ?, ?, ?)",
            (thing["id"], kind, thing["created"], msgspec.json.encode(thing)),
        )
        return thing

    def keep(self, thing: Thing) -> None:
        self._db.execute("UPDATE things SET body = ? WHERE id = ?", (msgspec.json.encode(thing), thing["id"]))

    def get(self, thing_id: str, kind: str | None = None) -> Thing | None:
        row = self._db.execute("SELECT body, kind FROM things WHERE id = ?", (thing_id,)).fetchone()
        return msgspec.json.decode(row[0]) if row and kind in (None, row[1]) else None

    def listed(
        self, kind: str, *, since: int = 0, until: int = 2**62, after: str | None = None, limit: int = 10
    ) -> tuple[list[Thing], bool]:
        """The newest first, from the one after `after` on; and whether there are more."""
        (below,) = self._db.execute(
            "SELECT coalesce((SELECT number FROM things WHERE id = ?), 1 << 62)", (after,)
        ).fetchone()
        rows = self._db.execute(
            "SELECT body FROM things WHERE kind = ? AND created >= ? AND created < ? AND number < ?"
            " ORDER BY number DESC LIMIT ?",
            (kind, since, until, below, limit + 1),
        ).fetchall()
        return [msgspec.json.decode(body) for (body,) in rows[:limit]], len(rows) > limit

    def of_intent(self, kind: str, intent: str) -> list[Thing]:
        """The newest first."""
        rows = self._db.execute(
            "SELECT body FROM things WHERE kind = ? AND json_extract(body, '$.payment_intent') = ?"
            " ORDER BY number DESC",
            (kind, intent),
        )
        return [msgspec.json.decode(body) for (body,) in rows]

    def answered(self, key: str) -> tuple[bytes, int, bytes] | None:
        """What was asked with the key, and the answer."""
        return self._db.execute("SELECT asked, status, body FROM answers WHERE key = ?", (key,)).fetchone()

    def answer(self, key: str, asked: bytes, status: int, body: bytes) -> None:
        self._db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (key, asked, status, body))

    def owe(self, event_id: str) -> None:
        self._db.execute("INSERT INTO owed (event, due, attempts) VALUES (?, ?, 0)", (event_id, time.time()))

    def owed(self, *, due: float = 2.0**62) -> list[tuple[int, Thing, int]]:
        """Number, event and attempts, oldest first."""
        rows = self._db.execute(
            "SELECT o.number, t.body, o.attempts FROM owed AS o JOIN things AS t ON t.id = o.event WHERE o.due <= ?"
            " ORDER BY o.number",
            (due,),
        ).fetchall()
        return [(number, msgspec.json.decode(body), attempts) for number, body, attempts in rows]

    def next_due(self) -> float | None:
        return self._db.execute("SELECT min(due) FROM owed").fetchone()[0]

    def paid_off(self, numbers: Iterable[int]) -> None:
        self._db.executemany("DELETE FROM owed WHERE number = ?", [(number,) for number in numbers])

    def put_off(self, number: int, due: float) -> None:
        self._db.execute("UPDATE owed SET due = ?, attempts = attempts + 1 WHERE number = ?", (due, number))
