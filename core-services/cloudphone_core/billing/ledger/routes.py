"""Accounts, transfers and statements over HTTP."""

from litestar.types import ControllerRouterHandler

LEDGER: list[ControllerRouterHandler] = []
