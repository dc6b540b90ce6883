"""The tax in a price: by the country named at the time and the rate in force then, rounded half-even."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_core.billing.invoices.models import BillToRow, TaxRateRow
from cloudphone_core.billing.invoices.taxes import rate_for, tax_in
from cloudphone_shared.ids import uuid7
from tests.core.billing.conftest import World

percents = st.decimals(0, 100, places=3)
amounts = st.integers(-(10**15), 10**15)


@given(amounts, percents)
def test_what_an_amount_contains_is_nearest_to_the_exact_share_and_even_in_the_middle(
    amount: int, percent: Decimal
) -> None:
    tax, whole = tax_in(amount, percent), 1000 * (100 + percent)
    # Twice the exact share's distance from the tax, in units of 1 / whole: whole numbers, nothing rounded.
    twice = abs(2 * (1000 * amount * percent - tax * whole))
    assert twice < whole or (twice == whole and tax % 2 == 0)
    assert tax_in(-amount, percent) == -tax


def test_a_tax_is_contained_not_added() -> None:
    assert tax_in(11900, Decimal(19)) == 1900
    assert tax_in(1, Decimal(100)) == 0
    assert tax_in(3, Decimal(100)) == 2
    assert tax_in(1999, Decimal(0)) == 0


@pytest.mark.anyio
async def test_the_rate_is_the_countrys_that_was_named_then(world: World) -> None:
    tenant, user = world.acme, world.ana.id
    country, other = "XA", "XB"
    rates = [
        TaxRateRow(
            id=uuid7(),
            country=where,
            name="VAT",
            percent=Decimal(percent),
            valid_from=date(2026, 3, day),
            created_at=world.now,
        )
        for where, percent, day in ((country, "19", 1), (country, "16.5", 12), (other, "7", 1))
    ]
    named = [
        BillToRow(tenant_id=tenant, user_id=user, name="Ana", country=where, set_at=world.now + timedelta(days=days))
        for where, days in ((country, -10), (other, -1))
    ]
    async with world.database.writing() as session:
        session.add_all([*rates, *named])
    async with world.database.reading() as session:
        found = [await rate_for(session, tenant, user, world.now + timedelta(days=days)) for days in (-11, -8, -2, 0)]
        assert found == [0, Decimal(19), Decimal("16.5"), 7]
        assert await rate_for(session, world.rival, user, world.now) == 0
