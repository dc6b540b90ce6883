"""What may be set of the card provider to try out."""

from pathlib import Path

import msgspec


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
