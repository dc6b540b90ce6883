"""Every history of money, told to its end, adds up; and one in which a mistake was made on purpose does not.

Ten thousand steps, and more by night.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from cloudphone_core.billing.invoices import usage
from cloudphone_core.billing.ledger import transfers
from cloudphone_core.billing.payments import card, found, refunds, wallet
from cloudphone_core.billing.rating import charges
from cloudphone_core.billing.sagas import buying, purchase, replies
from cloudphone_core.billing.sagas.engine import Engine

from .histories.books import Books, Ground

Seed = Callable[[pytest.MonkeyPatch], None]
STEPS = 200


@pytest.fixture(scope="module")
def ground(database_url: str) -> Iterator[Ground]:
    ground = Books.ground = Ground(database_url)
    yield ground
    ground.close()


def test_every_history_adds_up(ground: Ground) -> None:
    examples = max(50, settings().max_examples)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Books,
        settings=settings(
            max_examples=examples, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


async def nothing(*_: Any, **__: Any) -> None: ...


def a_voided_hold_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wallet.transfers, "void", nothing)


def a_capture_moves_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wallet.transfers, "post", nothing)


def a_key_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(buying, "saga_id_of", lambda tenant_id, key: uuid4())


def a_late_device_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replies.allocation, "release", nothing)


def a_failed_compensation_passes(patch: pytest.MonkeyPatch) -> None:
    stumble = Engine._stumble

    async def passes(self: Engine, turn: Any, error: Exception, *, back: bool) -> bool:
        if not back:
            return await stumble(self, turn, error, back=back)
        await self._done(turn, "as if", back=True)
        return False

    patch.setattr(Engine, "_stumble", passes)


def a_purchase_is_paid_before_it_is(patch: pytest.MonkeyPatch) -> None:
    async def paid(self: purchase.CapturePayment, turn: Any) -> str:
        await purchase.orders.mark_paid(turn.session, await self.the_order(turn), self.now())
        return "captured"

    patch.setattr(purchase.CapturePayment, "take", paid)


def a_quota_is_kept(patch: pytest.MonkeyPatch) -> None:
    async def asked(self: purchase.ValidatePlan, saga: Any, *, back: bool) -> Any:
        return None if back else await ask(self, saga, back=back)

    ask = purchase.ValidatePlan.ask
    patch.setattr(purchase.ValidatePlan, "ask", asked)


def a_webhook_is_believed_twice(patch: pytest.MonkeyPatch) -> None:
    captured = found._captured

    async def again(session: Any, payment: Any, told: Any, at: datetime) -> None:
        payment.state, payment.captured = "processing", 0
        await captured(session, payment, told, at)

    patch.setattr(found, "_captured", again)
    patch.setattr(found, "key_of", lambda payment: str(uuid4()))


def an_unknown_payment_is_given_up(patch: pytest.MonkeyPatch) -> None:
    async def guessed(self: card.Cards, payment_id: Any, key: str, error: Exception) -> Any:
        async with self._database.writing() as session:
            payment = await card.locked(session, payment_id)
            payment.next_look_at = None
            await card.failed(session, payment, "no answer", self._now())
            return card.standing(payment)

    patch.setattr(card.Cards, "_not_answered", guessed)


def more_is_refunded_than_was_taken(patch: pytest.MonkeyPatch) -> None:
    step = refunds.refund_step

    async def twice(session: Any, payment: Any, refund: Any, state: Any, at: Any, **more: Any) -> None:
        await step(session, payment, refund, state, at, **more)
        if state == "success" and payment.method == "wallet":
            await transfers.transfer(
                session, key=f"again:{refund.id}", kind="refund", postings=refunds._back(payment, refund),
                reason="again", reference=None, actor="test", at=at,
            )  # fmt: skip

    patch.setattr(refunds, "refund_step", twice)


def a_charge_is_left_off_the_invoice(patch: pytest.MonkeyPatch) -> None:
    open_charges = charges.open_charges

    async def but_one(session: Any, user_id: Any, until: datetime) -> Any:
        return list(await open_charges(session, user_id, until))[1:]

    patch.setattr(usage, "open_charges", but_one)


SEEDS: list[Seed] = [
    a_voided_hold_stays,
    a_capture_moves_nothing,
    a_key_is_forgotten,
    a_late_device_is_kept,
    a_failed_compensation_passes,
    a_purchase_is_paid_before_it_is,
    a_quota_is_kept,
    a_webhook_is_believed_twice,
    an_unknown_payment_is_given_up,
    more_is_refunded_than_was_taken,
    a_charge_is_left_off_the_invoice,
]


def tell(books: Books) -> None:
    """One history with everything that the mistakes are about, which adds up without them."""
    books.money_is_given(0, 20_000)
    # Bought, used, partly given back and invoiced.
    books.a_plan_is_bought(0, 2)
    [found] = [each for each in books.elsewhere.allocations.values() if each.live]
    books.runs(found, 250)
    books.runs(found, 7)
    for fact in books.facts:
        books.happens(books._hear(fact))
    order = books.run(books._rows(_ORDERS))[-1]["id"]
    books.happens(books._refund(order, 500))
    # Wanted again with the same key.
    books.purchase(0, 2, "wallet", True, 0, "none", False)
    # No device; a late one; one cancelled while the quota's owner is away.
    for willing, away in ((False, False), (True, False), (True, True)):
        books.purchase(1, 0, "wallet", False, 0, "none", False)
        books.money_is_given(1, 2000)
        books.purchase(1, 1, "wallet", False, 0, "none", False)
        saga = books.run(books._rows(_SAGAS))[-1]["id"]
        if willing:
            books.happens(books._cancel(saga), away=away)
        books.happens(books._reply(books.requests[-1], willing=willing))
    # A recharge whose page nobody heard of, paid, and told of twice.
    books.recharge(1, 1500, 0, "after")
    books.cards.present_card(books._pages("open")[0], accepted=True)
    for _ in range(2):
        books.happens(books._webhook(books.cards.events[-1]))
        books.happens(books._look_again())


_ORDERS = "SELECT id FROM billing.orders WHERE tenant_id = $1 AND state = 'completed' ORDER BY created_at, id"
_SAGAS = "SELECT id FROM billing.sagas WHERE tenant_id = $1 ORDER BY created_at"


def told(ground: Ground) -> None:
    ground.park()
    books = Books()
    tell(books)
    books.nothing_is_out_of_order()
    books.teardown()


def test_a_history_with_everything_in_it_adds_up(ground: Ground) -> None:
    told(ground)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.__name__)
def test_a_mistake_made_on_purpose_is_noticed(ground: Ground, seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    seed(monkeypatch)
    with pytest.raises(AssertionError):
        told(ground)
