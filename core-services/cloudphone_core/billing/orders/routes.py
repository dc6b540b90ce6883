"""Orders and subscriptions over HTTP."""

from litestar.types import ControllerRouterHandler

ORDERS: list[ControllerRouterHandler] = []
