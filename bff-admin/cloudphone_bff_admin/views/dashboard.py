"""The first screen: what there is and what runs, five seconds old at most, and labelled so."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from litestar.di import NamedDependency
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from cloudphone_cache import View
from cloudphone_cache.platform.serving import Screens
from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.app import AppStatistics
from cloudphone_shared.contracts.billing import BillingStatistics
from cloudphone_shared.contracts.device import DeviceStatistics
from cloudphone_shared.contracts.user import UserStatistics
from cloudphone_shared.errors import Unavailable

from ..staff import screen

T = TypeVar("T")

BOUND_SECONDS = 5


class Dashboard(Contract, frozen=True, kw_only=True):
    """`as_of` is when the figures were asked for. A part is null while its service is away."""

    as_of: datetime
    devices: DeviceStatistics | None
    users: UserStatistics | None
    apps: AppStatistics | None
    billing: BillingStatistics | None


dashboard = View("dashboard", Dashboard, fresh_for=5, serve_stale_for=3600, bounded_to=BOUND_SECONDS)
"""The figures of all tenants; only who sees everything belongs to its audience."""


@dashboard.segment
async def as_of(core: CoreClients) -> datetime:
    return datetime.now(UTC)


@dashboard.segment
async def devices(core: CoreClients) -> DeviceStatistics:
    return await core.device.statistics()


@dashboard.segment
async def users(core: CoreClients) -> UserStatistics:
    return await core.user.statistics()


@dashboard.segment
async def apps(core: CoreClients) -> AppStatistics:
    return await core.app.statistics()


@dashboard.segment
async def billing(core: CoreClients) -> BillingStatistics:
    return await core.billing.statistics()


@screen("/admin/dashboard", dashboard, "dashboard:read", tags=["dashboard"])
async def show_dashboard(
    core: NamedDependency[CoreClients], caller: NamedDependency[Caller], screens: NamedDependency[Screens]
) -> ASGIApp:
    """Totals of what the caller may see; at most 5 seconds old, as `X-View-Bounded` says."""
    if caller.data_scope == "all":
        return await screens.show(dashboard)
    return _labelled(await _own_figures(core, caller))


async def _own_figures(core: CoreClients, caller: Caller) -> Dashboard:
    """Asked for now, with the caller's token: each service counts what the caller sees."""
    bearer = passing_on(caller)
    devices, users, apps, billing = await asyncio.gather(
        _or_none(core.device.statistics(bearer=bearer)),
        _or_none(core.user.statistics(bearer=bearer)),
        _or_none(core.app.statistics(bearer=bearer)),
        _or_none(core.billing.statistics(bearer=bearer)),
    )
    return Dashboard(as_of=datetime.now(UTC), devices=devices, users=users, apps=apps, billing=billing)


async def _or_none(asking: Awaitable[T]) -> T | None:
    try:
        return await asking
    except Unavailable:
        return None


def _labelled(figures: Dashboard) -> ASGIApp:
    complete = None not in (figures.devices, figures.users, figures.apps, figures.billing)
    return ASGIResponse(
        body=msgspec.json.encode(figures),
        media_type="application/json",
        headers={
            "Cache-Control": "private, no-cache",
            "Cache-Status": "cloudphone; fwd=bypass",
            "X-View-Bounded": f"*={BOUND_SECONDS}",
            "X-View-Complete": "true" if complete else "false",
        },
    )
