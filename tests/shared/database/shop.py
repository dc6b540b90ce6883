"""A little service for the kit's tests: things, and the event that announces them."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.database import base
from cloudphone_shared.events import Event
from cloudphone_shared.ids import uuid7

Base = base("shop")


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str]
    rank: Mapped[int | None]
    price: Mapped[Decimal | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class ThingChanged(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "shop.thing.changed"
    thing_id: str = ""
    tenant_id: UUID | None = None
    text: str = ""
