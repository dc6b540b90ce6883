"""The cache by itself: data in memory, a view, a hit, a change, and the next read is fresh.

Run it with the URL of any Redis: `python cache/examples/standalone.py redis://127.0.0.1:6379/0`
"""

import asyncio
import sys

import msgspec

from cloudphone_cache import Announcer, Cache, View, observed

TITLES = {"1": "Emma"}


class Book(msgspec.Struct):
    title: str


class BookPage(msgspec.Struct):
    book: Book


page = View("book:page:{number}", BookPage)


@page.segment
async def book(books: Announcer, number: str) -> Book:
    observed("books", books.versions(f"book:{number}"))
    return Book(TITLES[number])


async def main(url: str) -> None:
    async with Announcer(url, "books") as books, Cache([page], books, redis=url, services=["books"]) as cache:
        await cache.listening(within=30.0)
        for title in ("Emma", "Emma", "Persuasion", "Persuasion"):
            if title != TITLES["1"]:
                with cache.write():  # this process knows at once, the others some milliseconds later
                    TITLES["1"] = title
                    observed("books", books.announce("book:1"))
            served = await cache.read(page, {"number": "1"})
            print(served.body.decode(), served.header("Cache-Status"), sep="  ")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
