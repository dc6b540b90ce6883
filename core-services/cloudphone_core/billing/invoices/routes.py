"""Invoices over HTTP."""

from litestar.types import ControllerRouterHandler

from . import models as models

INVOICES: list[ControllerRouterHandler] = []
