"""The card provider's HTTP process."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

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
from .settings import CardProviderSettings

NAME = "card-provider"


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
