"""Plans and coupons over HTTP."""

from litestar.types import ControllerRouterHandler

PLANS: list[ControllerRouterHandler] = []
