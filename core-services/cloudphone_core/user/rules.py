"""Who may do what to whom: nobody gives more than he has, nobody acts on somebody above him."""

from typing import get_args
from uuid import UUID

from cloudphone_shared.auth import Caller
from cloudphone_shared.contracts.user import DataScope, Role
from cloudphone_shared.errors import Conflict, Forbidden

_RANK: dict[str, int] = {"customer": 1, "support": 2, "operator": 2, "admin": 3}
_REACH: dict[str, int] = {"self": 1, "tenant": 2, "all": 3}
assert _RANK.keys() == set(get_args(Role))
assert _REACH.keys() == set(get_args(DataScope))


def scope_for(role: Role, *, keeping: DataScope = "tenant") -> DataScope:
    """The data scope that goes with a role: `keeping` where it does."""
    if role == "customer":
        return "self"
    return keeping if keeping != "self" else "tenant"


def check_grant(caller: Caller, role: Role, scope: DataScope) -> None:
    """Raises Forbidden for more than the caller has, Conflict for a scope that the role does not go with."""
    if (role == "customer") != (scope == "self"):
        raise Conflict("A customer's data scope is self, and nobody else's is", role=role, dataScope=scope)
    if _RANK[role] > _RANK.get(caller.role, 0):
        raise Forbidden(f"Only {role}s may make somebody {role}")
    if _REACH[scope] > _REACH[caller.data_scope]:
        raise Forbidden(f"A caller who sees {caller.data_scope} cannot let somebody see {scope}")


def check_authority(caller: Caller, user_id: UUID, role: Role, scope: DataScope) -> None:
    """Whether the caller may change this user at all. Raises Forbidden."""
    if caller.id == str(user_id):
        return
    above = _RANK.get(caller.role, 0) > _RANK[role] or caller.role == "admin"
    if not above or _REACH[scope] > _REACH[caller.data_scope]:
        raise Forbidden("The user's role or data scope is not below the caller's")
