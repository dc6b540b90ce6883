"""What is announced keeps its shape: one golden file per event type and version, and nobody announces to no one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloudphone_core.app import subscribers as app_subscribers
from cloudphone_core.billing import subscribers as billing_subscribers
from cloudphone_core.device import subscribers as device_subscribers
from cloudphone_core.scheduler import subscribers as scheduler_subscribers
from cloudphone_shared.bus.patterns import matcher
from cloudphone_shared.events import Envelope, Event

GOLDEN = Path(__file__).parent / "golden"
EVENTS = sorted((key, each) for key, each in Event.registry.items() if each.__module__.startswith("cloudphone_"))
"""Other tests announce events of their own."""


def _golden(key: tuple[str, int]) -> bytes:
    return (GOLDEN / f"{key[0]}.v{key[1]}.json").read_bytes()


@pytest.mark.parametrize(("key", "event"), EVENTS, ids=[f"{name}.v{version}" for (name, version), _ in EVENTS])
def test_a_golden_event_is_read_and_written_as_it_always_was(key: tuple[str, int], event: type[Event]) -> None:
    golden = _golden(key)
    read = msgspec.json.decode(golden, type=event)
    assert json.loads(msgspec.json.encode(read)) == json.loads(golden)
    assert set(json.loads(golden)) == set(event.__struct_encode_fields__), "the golden file must show every field"


@pytest.mark.parametrize(("key", "event"), EVENTS, ids=[name for (name, _), _ in EVENTS])
def test_a_field_that_a_newer_owner_added_is_no_trouble(key: tuple[str, int], event: type[Event]) -> None:
    newer = {**json.loads(_golden(key)), "addedLater": {"by": "its owner"}}
    assert msgspec.json.decode(json.dumps(newer), type=event) == msgspec.json.decode(_golden(key), type=event)


def test_no_golden_file_has_outlived_its_event() -> None:
    known = {f"{name}.v{version}.json" for (name, version), _ in EVENTS}
    assert {path.name for path in GOLDEN.glob("*.json")} - known == {"envelope.json"}


def test_an_envelope_travels_as_it_always_did() -> None:
    golden = (GOLDEN / "envelope.json").read_bytes()
    read = msgspec.json.decode(golden, type=Envelope)
    assert json.loads(msgspec.json.encode(read)) == json.loads(golden)
    assert set(json.loads(golden)) == set(Envelope.__struct_encode_fields__)


class Listening:
    """Stands where the bus would: notes who subscribes to what."""

    def __init__(self) -> None:
        self.patterns: dict[str, Sequence[str]] = {}

    def subscribe(self, queue: str, patterns: Sequence[str], handler: object, **options: object) -> None:
        assert queue not in self.patterns, f"two subscribers on {queue} would share its messages"
        self.patterns[queue] = patterns


@pytest.fixture
def listening() -> Listening:
    found = Listening()
    nowhere: Any = None
    for subscribers in (app_subscribers, billing_subscribers, scheduler_subscribers):
        subscribers.subscribe(found, nowhere)  # type: ignore[arg-type]
    device_subscribers.subscribe(found, nowhere, nowhere)  # type: ignore[arg-type]
    return found


def test_every_event_has_a_listener_or_is_declared_public(listening: Listening) -> None:
    heard = matcher([pattern for patterns in listening.patterns.values() for pattern in patterns])
    for (name, _), event in EVENTS:
        assert heard(name) != event.public, f"{name}: public={event.public}, listened to={heard(name)}"


def test_every_subscription_has_somebody_who_announces_it(listening: Listening) -> None:
    announced = {name for (name, _), _ in EVENTS}
    for queue, patterns in listening.patterns.items():
        for pattern in patterns:
            hears = matcher([pattern])
            assert any(hears(name) for name in announced), f"{queue} waits for {pattern}, which nobody announces"
