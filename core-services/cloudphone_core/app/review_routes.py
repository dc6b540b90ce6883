"""Reviews over HTTP."""

from uuid import UUID

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cloudphone_shared.contracts.app import Review, ReviewWrite
from cloudphone_shared.contracts.common import Answer, Page
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.lists import ListQuery, only_parameters

from . import reviews
from .standing import Stand, Who


@get("/v1/apps/{app_id:uuid}/reviews", guards=[requires("apps:read"), only_parameters()])
async def list_reviews(
    app_id: FromPath[UUID], store: Stand, caller: Who, asked: NamedDependency[ListQuery]
) -> Answer[Page[Review]]:
    async with store.database.reading() as session:
        return await reviews.review_page(session, caller, app_id, asked, store.cursors)


@post("/v1/apps/{app_id:uuid}/reviews", guards=[requires("apps:read")], status_code=200)
async def write_review(
    app_id: FromPath[UUID], data: JSONBody[ReviewWrite], store: Stand, caller: Who
) -> Answer[Review]:
    """Sent twice it stands once, so it needs no Idempotency-Key."""
    async with store.database.writing() as session:
        return await reviews.write_review(session, caller, app_id, data, store.now())


@delete("/v1/reviews/{review_id:uuid}", guards=[requires("apps:read")], status_code=200)
async def delete_review(review_id: FromPath[UUID], store: Stand, caller: Who) -> Answer[None]:
    async with store.database.writing() as session:
        return Answer(data=None, entities=await reviews.delete_review(session, caller, review_id))


REVIEW_HANDLERS = [list_reviews, write_review, delete_review]
