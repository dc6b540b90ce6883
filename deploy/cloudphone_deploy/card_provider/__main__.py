"""The card provider by itself, as in `python -m cloudphone_deploy.card_provider --port 9000`."""

import argparse
import os

from ..processes import Unit, serve
from .main import NAME


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m cloudphone_deploy.card_provider", description=__doc__)
    asked.add_argument("--port", type=int, required=True)
    asked.add_argument("--books", help="the SQLite file that it keeps")
    asked.add_argument("--webhooks", help="where it sends what happened")
    asked.add_argument(
        "--fault", action="append", default=[], help="OPERATION:HOW[:TIMES[:SECONDS]], such as intent.capture:cut-after"
    )
    given = asked.parse_args()
    os.environ["CLOUDPHONE_CARD_API_URL"] = f"http://127.0.0.1:{given.port}"
    if given.books:
        os.environ["CLOUDPHONE_CARD_PROVIDER_BOOKS"] = given.books
    if given.webhooks:
        os.environ["CLOUDPHONE_CARD_PROVIDER_WEBHOOK_URL"] = given.webhooks
    os.environ["CLOUDPHONE_CARD_PROVIDER_FAULTS"] = ",".join(given.fault)
    serve({NAME: given.port}, units={NAME: (Unit("http", "cloudphone_deploy.card_provider.main:create_app"),)})


if __name__ == "__main__":
    main()
