"""What travels on the bus: one envelope round every event."""

import builtins
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from ..contracts.common import Contract


class Envelope(Contract, frozen=True, kw_only=True, omit_defaults=True):
    """`seq` is the change's dense number, given by the owner's relay; `entities` what it touched, with versions.

    `time` is the commit's (UTC, microseconds), `source` the owning service.
    """

    event_id: UUID
    type: str
    version: int
    time: datetime
    source: str
    seq: int | None = None
    tenant_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    entities: dict[str, int] = {}
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Heartbeat(Contract, frozen=True, kw_only=True):
    """All that `source` committed before `t` has a number not above the envelope's seq.

    `t` is in ms since 1970, on its database's clock.
    """

    t: int


HEARTBEAT = "heartbeat"


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Past tense, announced by the owner in the transaction of the change. Additive within a version.

    `public`: announced for whoever listens, though no service here does beside the cache.
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1
    public: ClassVar[bool] = False
    registry: ClassVar[dict[tuple[str, int], "builtins.type[Event]"]] = {}

    def __init_subclass__(cls, **config: Any) -> None:
        super().__init_subclass__(**config)
        if "type" in cls.__dict__:
            Event.registry[cls.type, cls.version] = cls
