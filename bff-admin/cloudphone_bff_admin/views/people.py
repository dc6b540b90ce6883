"""A person as others' screens name one, and the batch that asks for several."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from cloudphone_cache import Answered
from cloudphone_cache.platform.serving import each_of
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.contracts import Contract
from cloudphone_shared.contracts.user import User, UserStatus


class Person(Contract, frozen=True, kw_only=True):
    id: UUID
    name: str
    email: str
    status: UserStatus

    @classmethod
    def of(cls, user: User) -> "Person":
        return msgspec.convert(user, cls, from_attributes=True)


async def people(core: CoreClients, user_ids: Sequence[UUID | None]) -> list[Answered | None]:
    """In order, None for no id; an absent user is an answer without a value."""
    return await each_of("user", core.user.get_many, user_ids, Person.of)
