"""The end of a review."""

from uuid import UUID

from litestar import delete
from litestar.di import NamedDependency
from litestar.params import FromPath

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.http.problems import problems

from ..staff import staff


@delete("/admin/reviews/{review_id:uuid}", tags=["apps"], guards=[staff("apps:manage")], responses=problems(404))
async def delete_review(
    review_id: FromPath[UUID], core: NamedDependency[CoreClients], caller: NamedDependency[Caller]
) -> None:
    """Takes a review out of the store."""
    await core.app.delete_review(review_id, passing_on(caller))
