"""What the services announce: one envelope, one class per event, one registry."""

from . import app, billing, device, scheduler, user
from .envelope import HEARTBEAT, Envelope, Event, Heartbeat

__all__ = ["HEARTBEAT", "Envelope", "Event", "Heartbeat", "app", "billing", "device", "scheduler", "user"]
