"""The tables of sagas."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloudphone_shared.contracts.purchase import SagaState

from ..models import SCHEMA, Base, Moment

LIVE: tuple[SagaState, ...] = ("running", "waiting", "compensating")
Outcome = Literal["done", "waiting", "refused", "failed"]


class SagaRow(Base):
    """One saga. Times are the database's.

    `wake_at` is when somebody is to look at it: at once, when its wait or its pause is over, or when the lease of who
    has it (`lease_token`) runs out; None at its end. `deadline_at` ends the present wait. `notes` counts its rows in
    saga_steps. `cancel_reason`: somebody wants it undone. `refusal` is the problem document its caller is answered.
    """

    __tablename__ = "sagas"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    order_id: Mapped[UUID | None]
    state: Mapped[SagaState] = mapped_column(String(12))
    step: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int]
    notes: Mapped[int]
    data: Mapped[dict[str, Any]]
    request_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    failure: Mapped[str | None]
    refusal: Mapped[dict[str, Any] | None]
    cancel_reason: Mapped[str | None]
    wake_at: Mapped[datetime | None] = mapped_column(Moment)
    deadline_at: Mapped[datetime | None] = mapped_column(Moment)
    lease_token: Mapped[UUID | None]
    alarmed_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint(
            "state IN ('running', 'waiting', 'compensating', 'completed', 'compensated')", name="known_state"
        ),
        CheckConstraint("(state IN ('completed', 'compensated')) = (wake_at IS NULL)", name="wakes_until_its_end"),
        CheckConstraint("lease_token IS NULL OR wake_at IS NOT NULL", name="leased_while_it_lives"),
        Index("ix_sagas_wake_at", "wake_at", postgresql_where=text("wake_at IS NOT NULL")),
        Index("ix_sagas_alarmed_at", "alarmed_at", postgresql_where=text("alarmed_at IS NOT NULL")),
        Index(None, "created_at", "id"),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "order_id"),
        {"schema": SCHEMA},
    )


class SagaStepRow(Base):
    """One attempt of a step."""

    __tablename__ = "saga_steps"

    saga_id: Mapped[UUID] = mapped_column(ForeignKey(SagaRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(String(20))
    direction: Mapped[Literal["forward", "back"]] = mapped_column(String(7))
    outcome: Mapped[Outcome | None] = mapped_column(String(7))
    detail: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ends_with_an_outcome"),
        {"schema": SCHEMA},
    )
