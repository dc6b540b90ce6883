"""Invoices over HTTP."""

from litestar.types import ControllerRouterHandler

INVOICES: list[ControllerRouterHandler] = []
