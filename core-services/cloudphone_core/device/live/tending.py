"""What a device worker does for phones beside operations: watches them, compares them with rows, reports nodes."""

import asyncio
from pathlib import Path

from cloudphone_shared.clients.core import CoreClients
from cloudphone_shared.database import Database
from cloudphone_shared.settings import Devices

from ..adb import Adb
from ..providers.port import Provider
from ..reconcile.reconciling import Reconciler
from .heartbeats import Heartbeats
from .watching import Supervisor


async def tend(database: Database, provider: Provider, adb: Adb, core: CoreClients, settings: Devices) -> None:
    """Until cancelled."""
    nodes = settings.nodes_served
    reconciler = Reconciler(database, provider, name=settings.provider, deployment=settings.deployment_id, nodes=nodes)
    heartbeats = Heartbeats(database, core.scheduler, Path(settings.data), nodes=nodes)
    async with asyncio.TaskGroup() as work:
        work.create_task(Supervisor(database, adb, provider, kind=settings.provider, nodes=nodes).run())
        work.create_task(reconciler.run())
        work.create_task(heartbeats.run())
