"""Rules, costs and budgets over HTTP."""

from litestar.types import ControllerRouterHandler

RATING: list[ControllerRouterHandler] = []
