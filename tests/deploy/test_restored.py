"""After a restore a service begins anew, and whatever it says outnumbers what was lost."""

import pytest
import uvloop

from cloudphone_deploy.cli import main
from cloudphone_shared import entities
from cloudphone_shared.database import SCHEMAS, Database, bump, migrate
from tests.servers import Postgres


def test_a_restored_service_is_in_a_higher_incarnation(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.create_database()
    monkeypatch.setenv("CLOUDPHONE_DEVICE_DATABASE_URL", url)
    uvloop.run(migrate(url, "device"))
    main(["restored", "device"])
    assert capsys.readouterr().out == "device is in its incarnation 2 now.\n"
    assert uvloop.run(_next_version(url)) > 2 * 10**12


@pytest.mark.parametrize("words", [["restored"], ["restored", "cache"], ["restored", "device", "nobody"]])
def test_what_is_no_service_is_refused_with_the_choice(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert "user, device, app, scheduler, billing" in capsys.readouterr().err


async def _next_version(url: str) -> int:
    database = Database(url, schema=SCHEMAS["device"], service="device", pool_size=1)
    try:
        async with database.writing() as session:
            return (await bump(session, entities.device("1")))[entities.device("1")]
    finally:
        await database.close()
