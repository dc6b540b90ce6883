"""A saga of five steps whose effects are rows: what the engine's tests run."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from cloudphone_core.billing.sagas.engine import Engine
from cloudphone_core.billing.sagas.models import SagaRow
from cloudphone_core.billing.sagas.steps import Pace, Point, Step, Turn, Wait, nothing_happens
from cloudphone_shared.contracts.purchase import SagaStepName
from cloudphone_shared.database import Database
from cloudphone_shared.errors import Conflict, Unavailable

TABLE = """
CREATE TABLE IF NOT EXISTS billing.toys (
    saga_id uuid, step text, undone boolean NOT NULL DEFAULT false, PRIMARY KEY (saga_id, step)
)
"""
QUICK = Pace(poll=0.02, backoff=(0.01,), tries=3, alarm_after=2)


class Others:
    """Who is asked: remembers whose request it fulfilled, however often it was made. What it is to refuse, or not to
    answer, is named by step and direction."""

    def __init__(self) -> None:
        self.given: dict[str, set[Any]] = {}
        self.refused: set[str] = set()
        self.away: dict[str, int] = {}
        self.heard: set[Any] = set()

    async def ask(self, step: str, saga: SagaRow, *, back: bool) -> str:
        way = f"{step} {'undo' if back else 'take'}"
        if self.away.get(way, 0) > 0:
            self.away[way] -= 1
            raise Unavailable("others", "nobody is listening")
        if way in self.refused:
            raise Conflict("It is not to be")
        if back:
            self.given.setdefault(step, set()).discard(saga.id)
        else:
            self.given.setdefault(step, set()).add(saga.id)
        return "as asked"


class Toy(Step):
    def __init__(self, name: SagaStepName, others: Others, *, asks: bool = False, waits: bool = False) -> None:
        self.name, self._others, self._asks, self._waits = name, others, asks, waits

    def asks(self, saga: SagaRow, *, back: bool) -> bool:
        return self._asks

    async def ask(self, saga: SagaRow, *, back: bool) -> Any:
        return await self._others.ask(self.name, saga, back=back)

    async def take(self, turn: Turn) -> Wait | str | None:
        if self._waits and turn.saga.id not in self._others.heard:
            if turn.overdue:
                raise Conflict("nobody replied in time")
            return Wait(timedelta(hours=1), "for a reply")
        if not self._asks and f"{self.name} take" in self._others.refused:
            raise Conflict("It is not to be")
        done = "INSERT INTO billing.toys (saga_id, step) VALUES (:id, :step)"
        await turn.session.execute(text(done), {"id": turn.saga.id, "step": self.name})
        return "done"

    async def undo(self, turn: Turn) -> str | None:
        undone = "UPDATE billing.toys SET undone = true WHERE saga_id = :id AND step = :step AND NOT undone"
        await turn.session.execute(text(undone), {"id": turn.saga.id, "step": self.name})
        return "undone"


def toy_engine(database: Database, others: Others, *, point: Point = nothing_happens, pace: Pace = QUICK) -> Engine:
    """Asked, local, local, waited for, asked (the pivot), asked."""
    steps = [
        Toy("VALIDATE_PLAN", others, asks=True),
        Toy("CREATE_ORDER", others),
        Toy("HOLD_PAYMENT", others),
        Toy("ALLOCATE_DEVICE", others, waits=True),
        Toy("CAPTURE_PAYMENT", others, asks=True),
        Toy("ACTIVATE_ORDER", others, asks=True),
    ]
    return Engine(database, steps, pivot="CAPTURE_PAYMENT", pace=pace, point=point)
