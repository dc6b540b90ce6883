"""The event bus: one port, on RabbitMQ and on NATS JetStream."""

from .port import Around, Bus, BusRefused, BusUnavailable, DeadLetter, Delivery, Reject, Retry
from .subscription import traced

__all__ = ["Bus", "BusRefused", "BusUnavailable", "DeadLetter", "Delivery", "Reject", "Retry", "connect"]


def connect(url: str, *, name: str = "cloudphone.events", around_handler: Around = traced) -> Bus:
    """A bus that is not started yet. `name` is the exchange, and the prefix of everything made on the broker.

    `amqp://` and `amqps://` are RabbitMQ, `nats://` and `tls://` NATS JetStream. Raises ValueError for other schemes.
    """
    # Each broker's library takes most of a second to import, and a process needs one of them.
    scheme = url.partition("://")[0]
    if scheme in ("amqp", "amqps"):
        from .rabbit import RabbitBus

        return RabbitBus(url, name=name, around=around_handler)
    if scheme in ("nats", "tls"):
        from .nats import NatsBus

        return NatsBus(url, name=name, around=around_handler)
    raise ValueError(f"the bus speaks amqp:// and nats://, not {scheme}://")
