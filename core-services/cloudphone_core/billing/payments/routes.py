"""Payments over HTTP."""

from litestar.types import ControllerRouterHandler

PAYMENTS: list[ControllerRouterHandler] = []
