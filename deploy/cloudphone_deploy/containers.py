"""What an installation leaves on a Docker Engine: containers and volumes with its label."""

import asyncio

from cloudphone_core.device.providers import open_provider
from cloudphone_core.device.providers.port import DEPLOYMENT, ProviderAway, ProviderRefused
from cloudphone_deploy.errors import CommandError
from cloudphone_shared.settings import Devices


async def remove_all(settings: Devices) -> int:
    """Every container and every volume of this deployment, and how many containers there were.

    Raises CommandError when the engine does not answer or refuses.
    """
    provider = open_provider(settings)
    ours = {DEPLOYMENT: settings.deployment_id}
    try:
        containers = await provider.find(ours)
        await asyncio.gather(*(provider.remove(each.id) for each in containers))
        await asyncio.gather(*(provider.remove_volume(each.name) for each in await provider.volumes(ours)))
    except (ProviderAway, ProviderRefused) as error:
        raise CommandError(f"The containers of this installation could not be removed: {error}.") from None
    finally:
        await provider.close()
    return len(containers)
