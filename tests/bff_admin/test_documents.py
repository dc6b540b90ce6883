"""The interface as it is documented."""

import re

import pytest

from tests.bff_admin.conftest import Console

pytestmark = pytest.mark.anyio


async def test_every_operation_says_what_it_answers_and_how_it_refuses(console: Console) -> None:
    document = (await console.get("/schema/openapi.json", by={})).json()
    operations = [
        operation for path in document["paths"].values() for verb, operation in path.items() if verb != "parameters"
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) and all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in names)
    for operation in operations:
        assert operation["description"] and operation["tags"], operation["operationId"]
        answers = operation["responses"]
        assert any(status.startswith("2") for status in answers), operation["operationId"]
        for status in ("400", "401", "403", "429", "503"):
            assert "application/problem+json" in answers[status]["content"], (operation["operationId"], status)


async def test_what_a_caller_sends_is_shown_by_example(console: Console) -> None:
    document = (await console.get("/schema/openapi.json", by={})).json()
    schemas = document["components"]["schemas"]
    for name in ("Credentials", "DeviceCreate", "DevicePatch", "UserCreate", "OrderCreate", "Device", "User", "Order"):
        assert schemas[name]["examples"], name


async def test_the_internal_interface_is_not_documented(console: Console) -> None:
    document = (await console.get("/schema/openapi.json", by={})).json()
    assert not [path for path in document["paths"] if path.startswith(("/internal", "/health", "/metrics"))]


async def test_the_documents_have_a_page(console: Console) -> None:
    page = await console.get("/schema", by={})
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]
