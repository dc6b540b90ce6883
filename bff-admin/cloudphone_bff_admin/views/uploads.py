"""An APK on its way into the store, from the app service as it stands."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.upload import Upload
from cloudphone_shared.http.problems import problems

from ..staff import staff


@get("/admin/uploads/{upload_id:uuid}", tags=["uploads"], guards=[staff("apps:manage")], responses=problems(404))
async def show_upload(
    upload_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> Upload:
    """An upload: how much has arrived, what was read from it, or why it was refused."""
    return await core.app.upload(upload_id, bearer=passing_on(caller))
