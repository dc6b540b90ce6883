"""Ids are UUIDs of version 7, in the order they were made."""

import time

from cloudphone_shared.ids import uuid7


def test_an_id_says_its_version_and_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(1000)]
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert before <= made[0].int >> 80 <= time.time_ns() // 1_000_000
    assert made == sorted(set(made))
