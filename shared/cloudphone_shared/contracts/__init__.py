"""What the services answer and what they accept, as seen by whoever calls them."""

from .common import Answer, Contract, Page, Request

__all__ = ["Answer", "Contract", "Page", "Request"]
