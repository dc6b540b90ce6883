"""The portal shows a caller's own things, whatever else the caller may see elsewhere."""

from typing import Any

from litestar import get

from cloudphone_cache import Audience, View
from cloudphone_cache.asgi import HotRoute
from cloudphone_cache.platform.serving import screen_options
from cloudphone_shared.auth import Caller
from cloudphone_shared.http.app import requires
from cloudphone_shared.http.operations import shows


def sees(caller: Caller, audience: Audience) -> bool:
    return audience.owner is not None and audience.owner == caller.id


def screen(path: str, view: View[Any], permission: str, *, tags: list[str]) -> get:
    """A GET that shows `view` to its owner; proven hits are answered in front of the app.

    A view keyed by `user_id` is the caller's own and needs no parameter in the path.
    """
    own = {"user_id"} & set(view.params)
    hot = HotRoute[Caller](
        path.replace(":uuid", ""),
        view,
        lambda caller: caller.may(permission),
        (lambda caller: {"user_id": caller.id}) if own else None,
    )
    return get(
        path, tags=tags, guards=[requires(permission)], responses=shows(view.shape, 404), opt=screen_options(hot)
    )
