"""The typed ways to ask the core services, and all of them together."""

from .core import SERVICES, CoreClients
from .listing import Listing

__all__ = ["SERVICES", "CoreClients", "Listing"]
