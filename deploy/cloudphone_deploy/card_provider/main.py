"""The card provider's HTTP process."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
from litestar import Litestar

from cloudphone_shared.http.app import create_app as http_app
from cloudphone_shared.http.edge import Edge
from cloudphone_shared.settings import Network, Payments, load

from ..errors import CommandError
from . import api, control, page
from .books import Books
from .faults import Faults, parse
from .money import Money
from .sender import Sender

NAME = "card-provider"


class CardProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`card_provider_books`: its SQLite file, by default in the data folder. `card_provider_webhook_url`: by default
    billing's. `card_provider_faults`: what it does wrong from its start, as `OPERATION:HOW[:TIMES[:SECONDS]]`."""

    data: str = ".cloudphone"
    card_provider_books: str = ""
    card_provider_webhook_url: str = ""
    card_provider_faults: list[str] = []

    @property
    def file(self) -> Path:
        return Path(self.card_provider_books or Path(self.data, "card-provider", "books.sqlite"))


def create_app() -> Edge:
    """From the settings. Raises CommandError where the key or the secret that it shares with billing is missing."""
    settings, payments = load(CardProviderSettings), load(Payments)
    if not payments.card_api_key or not payments.card_webhook_secrets:
        raise CommandError("The card provider needs CLOUDPHONE_CARD_API_KEY and CLOUDPHONE_CARD_WEBHOOK_SECRETS.")
    books, faults = Books(settings.file), Faults()
    for text in settings.card_provider_faults:
        faults.add(parse(text))
    money = Money(books, payments.card_api_url)
    url = settings.card_provider_webhook_url or load(Network).url_of("billing") + "/v1/webhooks/card"
    key, secret = payments.card_api_key, payments.card_webhook_secrets[0]
    sender = Sender(books, faults, url, secret)

    @contextlib.asynccontextmanager
    async def sending(app: Litestar) -> AsyncGenerator[None]:
        task = asyncio.create_task(sender.run())
        yield
        task.cancel()
        await asyncio.wait([task])
        books.close()

    return http_app(
        NAME,
        [
            *api.routes(money, faults, key, sender.wake),
            *page.routes(money, sender.wake),
            *control.routes(money, faults, sender, api_key=key, secret=secret),
        ],
        lifespan=[sending],
    )
