"""A list is read page by page, whatever it is sorted by, and its cursors cannot be made up."""

import base64
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from cloudphone_shared.database import Cursors, Database, Sorts, page, page_of_rows
from cloudphone_shared.errors import Invalid, InvalidCursor
from tests.shared.database.shop import Thing

pytestmark = pytest.mark.anyio

CURSORS = Cursors("a key")
SORTS = Sorts(
    {"name": Thing.name, "rank": Thing.rank, "price": Thing.price, "createdAt": Thing.created_at},
    tiebreak=Thing.id,
    default="-createdAt",
)
ORDERS = ["name", "-name", "rank", "-rank", "price,-name", "-rank,price", "createdAt", "-createdAt", None]


@pytest.fixture
async def things(database: Database) -> AsyncIterator[list[Thing]]:
    chance = random.Random(7)
    things = [
        Thing(
            name=chance.choice("abcdé"),
            rank=chance.choice([None, -1, 0, 1, 2]),
            price=chance.choice([None, Decimal("1.10"), Decimal("1.1000000001"), Decimal(7)]),
            created_at=datetime(2026, 1, chance.randrange(1, 5), microsecond=chance.randrange(3), tzinfo=UTC),
        )
        for _ in range(53)
    ]
    async with database.writing() as session:
        session.add_all(things)
    yield things


async def every_page(database: Database, sort: str | None, limit: int) -> list[Thing]:
    found: list[Thing] = []
    cursor = None
    while True:
        async with database.reading() as session:
            listing = await page(
                session,
                select(Thing),
                SORTS.parse(sort),
                cursors=CURSORS,
                scope="things",
                cursor=cursor,
                limit=limit,
            )
        assert len(listing.items) <= limit
        found += listing.items
        if (cursor := listing.next_cursor) is None:
            return found


@pytest.mark.parametrize("sort", ORDERS)
async def test_pages_hold_everything_once_in_the_order_of_the_whole(
    database: Database, things: list[Thing], sort: str | None
) -> None:
    found = await every_page(database, sort, limit=7)
    async with database.reading() as session:
        whole = await session.scalars(select(Thing.id).order_by(*(order.clause() for order in SORTS.parse(sort))))
    assert [thing.id for thing in found] == list(whole)
    assert len(found) == len(things)


async def test_the_last_full_page_has_no_next_one(database: Database, things: list[Thing]) -> None:
    async with database.reading() as session:
        listing = await page(session, select(Thing), SORTS.parse(None), cursors=CURSORS, scope="things", limit=53)
    assert (len(listing.items), listing.next_cursor) == (53, None)


async def test_rows_of_several_columns_are_paged_too(database: Database, things: list[Thing]) -> None:
    async with database.reading() as session:
        listing = await page_of_rows(
            session, select(Thing.name, Thing.rank), SORTS.parse("name"), cursors=CURSORS, scope="things", limit=3
        )
    assert [row.name for row in listing.items] == ["a", "a", "a"]


def flip(cursor: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-3] ^= 1
    return base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


@pytest.mark.parametrize(
    "tamper",
    [
        flip,
        lambda cursor: "",
        lambda cursor: "nonsense",
        lambda cursor: cursor[:-4],
        lambda cursor: cursor + "é",
        lambda cursor: cursor + "\0",
        lambda cursor: "A" * 100_000,
        lambda cursor: Cursors("another key").encode("things", ["a"]),
    ],
)
async def test_a_cursor_that_was_tampered_with_is_refused(
    database: Database, things: list[Thing], tamper: Callable[[str], str]
) -> None:
    async with database.reading() as session:
        order = SORTS.parse("name")
        first = await page(session, select(Thing), order, cursors=CURSORS, scope="things", limit=5)
        assert first.next_cursor
        with pytest.raises(InvalidCursor):
            await page(session, select(Thing), order, cursors=CURSORS, scope="things", cursor=tamper(first.next_cursor))


@pytest.mark.parametrize(("sort", "scope"), [("-name", "things"), ("rank", "things"), ("name", "things of ana")])
async def test_a_cursor_is_good_for_its_own_list_and_order_only(
    database: Database, things: list[Thing], sort: str, scope: str
) -> None:
    async with database.reading() as session:
        first = await page(session, select(Thing), SORTS.parse("name"), cursors=CURSORS, scope="things", limit=5)
        with pytest.raises(InvalidCursor):
            await page(
                session, select(Thing), SORTS.parse(sort), cursors=CURSORS, scope=scope, cursor=first.next_cursor
            )


@pytest.mark.parametrize("limit", [0, -1, 101, 10**30])
async def test_a_limit_out_of_range_is_refused_by_name(database: Database, limit: int) -> None:
    async with database.reading() as session:
        with pytest.raises(Invalid) as refusal:
            await page(session, select(Thing), SORTS.parse(None), cursors=CURSORS, scope="things", limit=limit)
    assert refusal.value.errors[0].field == "limit"


@pytest.mark.parametrize("sort", ["secret", "-", ",", "name,name,name,name", "name;drop", "--name"])
def test_an_unknown_sort_is_refused_by_name(sort: str) -> None:
    with pytest.raises(Invalid) as refusal:
        SORTS.parse(sort)
    assert refusal.value.errors[0].field == "sort"
