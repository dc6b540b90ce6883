"""A card provider to test with, as a process of its own."""

import contextlib
import sys
from collections.abc import Sequence

import httpx

from tests.servers import Server

KEY = "sk_test_key"
SECRET = "whsec_new"


class CardServer(Server):
    """The provider as a process of its own. It keeps its webhooks until they are fetched."""

    scheme = "http"

    def command(self) -> Sequence[str]:
        return [
            sys.executable, "-m", "cloudphone_deploy.card_provider", "--port", str(self.port),
            "--books", str(self.folder / "books.sqlite"), "--webhooks", "http://127.0.0.1:9/",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {"CLOUDPHONE_CARD_API_KEY": KEY, "CLOUDPHONE_CARD_WEBHOOK_SECRETS": SECRET}

    def ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health/ready", timeout=5).is_success
        return False
