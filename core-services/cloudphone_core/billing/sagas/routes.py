"""Sagas over HTTP, for operators."""

from litestar.types import ControllerRouterHandler

SAGAS: list[ControllerRouterHandler] = []
