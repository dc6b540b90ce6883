"""Accounts that seem to have been there for long."""

import uuid
from datetime import UTC, datetime

import pytest

from cloudphone_core.user.seed import SeedTenant, SeedUser, seed
from cloudphone_shared import entities
from cloudphone_shared.database import Database

from .conftest import PASSWORD, World, cheap

pytestmark = pytest.mark.anyio

AT = datetime(2026, 1, 1, tzinfo=UTC)


async def test_seeded_accounts_sign_in_and_have_versions(world: World, database: Database) -> None:
    tenant = SeedTenant(id=uuid.uuid4(), name="Acme", slug="acme", created_at=AT)
    hashed = await cheap().hash(PASSWORD)
    users = [
        SeedUser(
            id=uuid.uuid4(), tenant_id=tenant.id, name=f"User {n}", email=f"User{n}@example.com",
            password_hash=hashed, created_at=AT, last_active_at=AT,
        )
        for n in range(50)
    ]  # fmt: skip

    versions = await seed(database, tenants=[tenant], users=users)

    shown = await world.seen(str(users[7].id))
    assert shown.json()["data"]["tenantName"] == "Acme"
    assert shown.json()["entities"].items() <= versions.items()
    assert versions.keys() >= {entities.users_of(tenant.id), entities.sessions(users[7].id)}
    assert (await world.login("user7@example.com")).status_code == 200
