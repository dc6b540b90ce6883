"""A new account."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import Caller, passing_on
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts.user import User, UserCreate
from cloudphone_shared.http.operations import IdempotencyKey, created
from cloudphone_shared.http.problems import problems

from ..staff import staff


@post(
    "/admin/users",
    tags=["users"],
    guards=[staff("users:manage")],
    responses=problems(404, 409, 413, 415, 422),
)
async def create_user(
    data: JSONBody[UserCreate],
    core: NamedDependency[CoreClients],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,
) -> Response[User]:
    """Makes an account; in the caller's tenant unless another is named."""
    user = await core.user.create(data, passing_on(caller), idempotency_key=idempotency_key)
    return created(f"/admin/users/{user.id}", user)
