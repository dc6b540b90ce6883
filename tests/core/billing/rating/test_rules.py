"""Rules are edited by version, tried before they are saved, and kept to whom they belong."""

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from cloudphone_shared.ids import uuid7
from tests.core.billing.rating.conftest import Rated

pytestmark = pytest.mark.anyio

RULES = "/v1/billing-rules"


def flat(rate: str) -> dict[str, Any]:
    return {"tiers": [{"upToHours": None, "rate": rate}]}


async def test_a_new_version_counts_from_its_beginning_and_the_old_ones_stay(rated: Rated) -> None:
    world = rated.world
    rule = await rated.hourly("12.5")
    tag = (await world.client.get(f"{RULES}/{rule['id']}", headers=world.admin)).headers["etag"]
    place = f"{RULES}/{rule['id']}/revisions"
    revised = {"definition": flat("1E+1"), "validFrom": world.hour(1)}
    await world.ok("POST", place, world.admin, revised)
    stale = await world.client.post(place, headers={**world.admin, "If-Match": tag}, json=revised)
    assert stale.status_code == 412
    for valid_from, status in ((world.hour(-1), 400), (world.hour(0.5), 409)):
        answer = await world.client.post(
            place, headers=world.admin, json={"definition": flat("1"), "validFrom": valid_from}
        )
        assert answer.status_code == status, answer.text
    found = (await world.ok("GET", place, world.admin))["data"]
    assert [(one["revision"], one["definition"]["tiers"][0]["rate"]) for one in found] == [(2, "10"), (1, "12.5")]
    with pytest.raises(DBAPIError, match="never changes"):
        await rated.sql("UPDATE billing.billing_rule_versions SET definition = '{}'")


async def test_a_rule_is_renamed_retired_and_found(rated: Rated) -> None:
    world, rule = rated.world, await rated.rule("per-use", rate="30")
    patch = {"name": "Per start", "active": False}
    assert (await world.ok("PATCH", f"{RULES}/{rule['id']}", world.admin, patch))["data"]["name"] == "Per start"
    listed = await world.ok("GET", f"{RULES}?kind=per-use&active=false&search=start", world.staff(world.rival))
    assert [one["id"] for one in listed["data"]["items"]] == [rule["id"]]
    refused = await world.client.get(f"{RULES}?kinds=fixed", headers=world.admin)
    assert refused.status_code == 400


async def test_a_plan_takes_only_a_rule_in_use_and_in_its_currency(rated: Rated) -> None:
    world, rule = rated.world, await rated.hourly("5")

    async def status(**fields: object) -> int:
        body = {"name": "Basic", "price": 1, "currency": "USD", "ruleId": rule["id"], **fields}
        return (await world.client.post("/v1/plans", headers=world.admin, json=body)).status_code

    assert [await status(), await status(currency="EUR"), await status(ruleId=str(uuid7()))] == [201, 400, 400]
    plan = await world.plan(currency="EUR")
    revision = await world.client.post(
        f"/v1/plans/{plan['id']}/revisions", headers=world.admin, json={"ruleId": rule["id"]}
    )
    assert revision.status_code == 400, revision.text
    await world.ok("PATCH", f"{RULES}/{rule['id']}", world.admin, {"active": False})
    assert await status() == 400


async def test_a_rule_is_tried_on_what_was_used(rated: Rated) -> None:
    world, phone = rated.world, rated.world.owners.device(rated.world.acme).id
    await world.run(phone, world.ana.id, -24 * 15, -24 * 13)
    await world.run(phone, world.ana.id, -3, None)
    trial = {
        "kind": "time-based", "currency": "EUR", "userId": str(world.ana.id), "month": "2026-03", "includedHours": 24,
        "definition": {"rate": "2", "windows": [{"start": "08:00", "end": "10:00", "rate": "10"}]},
    }  # fmt: skip
    found = (await world.ok("POST", f"{RULES}/trial", world.staff(world.acme), trial))["data"]
    assert found["devices"][0]["seconds"] == (36 + 3) * 3600
    assert found["totals"] == {"EUR": (10 * 2 + 2 * 10) + (2 * 2 + 1 * 10)}
    for who, fields, status in (
        (world.staff(world.acme), {"month": "2026-04"}, 400),
        (world.staff(world.acme), {"definition": {"rate": "2"}}, 400),
        (world.staff(world.rival), {}, 404),
        (world.as_ana, {}, 403),
    ):
        answer = await world.client.post(f"{RULES}/trial", headers=who, json={**trial, **fields})
        assert answer.status_code == status, answer.text


async def test_what_makes_no_sense_is_refused_and_not_kept(rated: Rated) -> None:
    name = str(uuid7())
    for kind, definition in (
        ("fixed", {"rate": "-1"}), ("fixed", {"rate": "1e30"}), ("fixed", {"rate": "NaN"}), ("fixed", {"rate": "x"}),
        ("per-use", {"rate": "0.00000000001"}), ("tiered", {"tiers": []}), ("hourly", {"rate": "1"}),
        ("time-based", {"rate": "1", "windows": [{"start": "24:00", "end": "01:00", "rate": "1"}]}),
        ("time-based", {"rate": "1", "windows": [{"start": "00:00", "end": "12:00", "rate": "1", "days": [1, 1]}]}),
    ):  # fmt: skip
        body = {"name": name, "kind": kind, "currency": "USD", "definition": definition}
        answer = await rated.world.client.post(RULES, headers=rated.world.admin, json=body)
        assert answer.status_code == 400, (definition, answer.text)
    assert await rated.world.rows("SELECT 1 FROM billing.billing_rules WHERE name = :name", name=name) == []


async def test_rules_are_changed_by_who_sees_all_tenants(rated: Rated) -> None:
    world, rule = rated.world, await rated.hourly("5")
    new = {"name": "Mine", "kind": "fixed", "currency": "USD", "definition": {"rate": "1"}}
    for who in (world.staff(world.acme), world.as_ana, world.bff):
        for method, path, body in (
            ("POST", RULES, new),
            ("PATCH", f"{RULES}/{rule['id']}", {"active": False}),
            ("POST", f"{RULES}/{rule['id']}/revisions", {"definition": flat("0")}),
        ):
            answer = await world.client.request(method, path, headers=who, json=body)
            assert answer.status_code == 403, answer.text
    assert (await world.client.get(f"{RULES}/{uuid7()}", headers=world.admin)).status_code == 404
    assert (await world.client.get(RULES, headers=world.as_ana)).status_code == 403
