"""What a saga is made of: steps that are done one after another, or undone in the opposite order."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cloudphone_shared.contracts.purchase import SagaStepName
from cloudphone_shared.database import Announcement

from .models import SagaRow

Point = Callable[[str], Awaitable[None]]


async def nothing_happens(point: str) -> None:
    """What a crash point does in production."""


class Wait(NamedTuple):
    """The step is done when somebody wakes the saga, or looked at again after `at_most`."""

    at_most: timedelta
    reason: str


class Asked(NamedTuple):
    """What came of asking: an answer, or why there is none."""

    answer: Any = None
    error: Exception | None = None


class Turn(msgspec.Struct, kw_only=True):
    """One transaction of a saga, whose row is locked. `at` is the database's time. `asked` is None where the step asks
    nobody. `announcing` is announced at its end: what is told of a user's money is locked after the wallet, in every
    turn, or two turns of one user would wait for each other."""

    session: AsyncSession
    saga: SagaRow
    at: datetime
    asked: Asked | None = None
    announcing: list[Announcement] = msgspec.field(default_factory=list[Announcement])

    @property
    def overdue(self) -> bool:
        """Whether the present wait is over."""
        return self.saga.deadline_at is not None and self.saga.deadline_at <= self.at

    def keep(self, **facts: Any) -> None:
        """What later steps, and what undoes this one, need to know."""
        self.saga.data = {**self.saga.data, **facts}


class Question(NamedTuple):
    """What is asked outside of any transaction, under a lease: `saga` is as it was committed."""

    step: "Step"
    back: bool
    saga: SagaRow
    token: UUID


class Step:
    """Forward `take`, back `undo`: in the engine's transaction, so that what they change and that they changed it are
    one. What has to be asked of others is asked before, by `ask`, perhaps more than once: whoever is asked must know
    the saga again.

    Each is repeated until it is done. `take` refuses by a DomainError. A step is undone if it was ever entered, so
    `undo` must bear that nothing was done.
    """

    name: SagaStepName

    def asks(self, saga: SagaRow, *, back: bool) -> bool:
        return False

    async def ask(self, saga: SagaRow, *, back: bool) -> Any:
        """Raises DomainError where it is refused, Unavailable where nobody answers."""

    async def take(self, turn: Turn) -> Wait | str | None:
        """What the time line says of it; or that it has to wait."""

    async def undo(self, turn: Turn) -> str | None:
        """What the time line says of it."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: how long a worker may be silent, how often it looks for work unasked, how long it waits before it tries
    again (longer each time). `tries`: how often a step before the point of no return is tried before the saga is
    undone; `alarm_after`: how many failures call for an operator; `concurrency`: sagas at once."""

    lease: float = 30.0
    poll: float = 1.0
    backoff: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
    tries: int = 5
    alarm_after: int = 5
    concurrency: int = 8
