"""Settings come from the environment, files and TOML, and say by name what is wrong with them."""

import json
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudphone_shared.settings import (
    AppStorage,
    Auth,
    BusSettings,
    CacheWorkerSettings,
    Databases,
    Limits,
    Network,
    Redis,
    Secret,
    SettingsError,
    Telemetry,
    WarmupSettings,
    explain,
    load,
    unknown,
)

ALL = (AppStorage, Network, Databases, Redis, BusSettings, Auth, Limits, Telemetry, WarmupSettings, CacheWorkerSettings)


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    whole: int = 1
    fraction: float = 0.5
    switch: bool = False
    choice: Literal["red", "green"] = "red"
    names: list[str] = []
    figures: dict[str, int] = {}
    key: Secret | None = None
    keys: dict[str, Secret] | None = None


plain_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
not_numbers = plain_text.filter(lambda text: not any(character.isdigit() for character in text))


def test_values_come_from_the_environment() -> None:
    kinds = load(
        Kinds,
        env={
            "CLOUDPHONE_WHOLE": "-3",
            "CLOUDPHONE_FRACTION": "0.25",
            "CLOUDPHONE_SWITCH": "true",
            "CLOUDPHONE_CHOICE": "green",
            "CLOUDPHONE_KEY": "k",
        },
    )
    assert (kinds.whole, kinds.fraction, kinds.switch, kinds.choice, kinds.key) == (-3, 0.25, True, "green", "k")


@pytest.mark.parametrize("text", ["ana, ben", '["ana", "ben"]', "ana,ben,"])
def test_lists_are_json_or_separated_by_commas(text: str) -> None:
    assert load(Kinds, env={"CLOUDPHONE_NAMES": text}).names == ["ana", "ben"]


@pytest.mark.parametrize("text", ["a=1; b=2", '{"a": 1, "b": 2}', "a=1;b=2;"])
def test_dicts_are_json_or_pairs_separated_by_semicolons(text: str) -> None:
    assert load(Kinds, env={"CLOUDPHONE_FIGURES": text}).figures == {"a": 1, "b": 2}


def test_a_pair_keeps_commas_and_equals_signs_of_its_value() -> None:
    limits = load(Limits, env={"CLOUDPHONE_RATE_LIMITS_BY_ROLE": "admin=100/s,1000/min"})
    assert limits.rate_limits_by_role == {"admin": "100/s,1000/min"}
    assert load(Kinds, env={"CLOUDPHONE_KEYS": "bff-admin=a=b=="}).keys == {"bff-admin": "a=b=="}


def test_environment_goes_before_file_before_toml_before_default(tmp_path: Path) -> None:
    toml, file = tmp_path / "c.toml", tmp_path / "secret"
    toml.write_text('key = "from toml"\n')
    file.write_text("from file\n")
    env = {
        "CLOUDPHONE_CONFIG": str(toml),
        "CLOUDPHONE_KEY_FILE": str(file),
        "CLOUDPHONE_KEY": "from environment",
    }
    assert load(Kinds, env=env).key == "from environment"
    assert load(Kinds, env={**env, "CLOUDPHONE_KEY": ""}).key == "from file"
    assert load(Kinds, env={"CLOUDPHONE_CONFIG": str(toml)}).key == "from toml"
    assert load(Kinds, env={}).key is None
    assert load(Kinds, env={}, toml=toml).key == "from toml"


def test_toml_holds_lists_and_tables(tmp_path: Path) -> None:
    toml = tmp_path / "c.toml"
    toml.write_text('names = ["ana"]\nwhole = 7\nkeys = { user = "s" }\n')
    kinds = load(Kinds, env={"CLOUDPHONE_CONFIG": str(toml)})
    assert (kinds.names, kinds.whole, kinds.keys) == (["ana"], 7, {"user": "s"})


@pytest.mark.parametrize(
    ("variable", "bad", "expected"),
    [
        ("CLOUDPHONE_WHOLE", "three", "a whole number"),
        ("CLOUDPHONE_WHOLE", "1.5", "a whole number"),
        ("CLOUDPHONE_FRACTION", "half", "a number"),
        ("CLOUDPHONE_SWITCH", "perhaps", "true or false"),
        ("CLOUDPHONE_CHOICE", "blue", "one of red, green"),
        ("CLOUDPHONE_NAMES", '["ana"', "JSON array"),
        ("CLOUDPHONE_FIGURES", "a", "name=value"),
        ("CLOUDPHONE_FIGURES", "a=one", "name=value"),
        ("CLOUDPHONE_FIGURES", '{"a": 1', "JSON object"),
    ],
)
def test_an_error_names_the_variable_the_value_and_what_is_expected(variable: str, bad: str, expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(Kinds, env={variable: bad})
    assert str(raised.value).startswith(f"{variable}: expected ")
    assert expected in str(raised.value)
    assert repr(bad) in str(raised.value)


@pytest.mark.parametrize("port", ["80", "70000", "-1", "x"])
def test_a_port_base_out_of_range_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match=r"CLOUDPHONE_PORT_BASE: expected a whole number from 1024 to 65500"):
        load(Network, env={"CLOUDPHONE_PORT_BASE": port})


@given(not_numbers)
def test_whatever_is_no_number_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(Kinds, env={"CLOUDPHONE_WHOLE": text})
    assert raised.value.variable == "CLOUDPHONE_WHOLE"


@given(st.dictionaries(st.sampled_from(["user", "device"]), plain_text.map("hunter2{}".format), min_size=1))
def test_any_secret_survives_json_and_shows_nowhere(secrets: dict[str, str]) -> None:
    env = {"CLOUDPHONE_KEYS": json.dumps(secrets)}
    kinds = load(Kinds, env=env)
    assert kinds.keys == secrets
    assert "hunter2" not in repr(kinds)
    assert "hunter2" not in repr(explain(Kinds, env=env))


def test_errors_and_explanations_show_no_secret(tmp_path: Path) -> None:
    env = {
        "CLOUDPHONE_KEYS": '{"user": "hunter2hunter2"',
        "CLOUDPHONE_KEY": "hunter2hunter2",
        "CLOUDPHONE_REDIS_URL": "redis://:hunter2@hunter2@cache:6379/0",
    }
    with pytest.raises(SettingsError) as raised:
        load(Kinds, env=env)
    settings = explain(Kinds, Redis, env=env)
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(load(Redis, env=env))
    assert next(s.value for s in settings if s.variable == "CLOUDPHONE_REDIS_URL") == "redis://***@cache:6379/0"


def test_a_toml_syntax_error_shows_its_place_and_not_its_text(tmp_path: Path) -> None:
    toml = tmp_path / "c.toml"
    toml.write_text("key = hunter2\n")
    with pytest.raises(SettingsError) as raised:
        load(Kinds, env={"CLOUDPHONE_CONFIG": str(toml)})
    assert "line 1" in str(raised.value)
    assert "CLOUDPHONE_CONFIG" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_missing_file_is_named_with_its_variable(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with pytest.raises(SettingsError, match=r"CLOUDPHONE_KEY_FILE: .*none"):
        load(Kinds, env={"CLOUDPHONE_KEY_FILE": str(missing)})
    with pytest.raises(SettingsError, match=r"CLOUDPHONE_CONFIG: .*none"):
        load(Kinds, env={"CLOUDPHONE_CONFIG": str(missing)})


def test_a_required_secret_that_is_not_set_is_named() -> None:
    with pytest.raises(SettingsError, match=r"CLOUDPHONE_FRESHNESS_KEY: not set; expected a secret text"):
        load(Auth, env={})


def test_the_ports_and_the_servers_move_with_the_base() -> None:
    env = {"CLOUDPHONE_PORT_BASE": "41000"}
    assert load(Network, env=env).url_of("bff-admin") == "http://127.0.0.1:41010"
    assert load(Network, env=env).port_of("cache-worker") == 41008
    assert load(Databases, env=env).url_of("user") == "postgresql://postgres@127.0.0.1:41020/cloudphone_core"
    assert load(Redis, env=env).redis_url == "redis://127.0.0.1:41021/0"
    assert load(BusSettings, env=env).bus_url == "nats://127.0.0.1:41022"


def test_a_service_moves_by_its_own_url() -> None:
    network = load(Network, env={"CLOUDPHONE_CACHE_WORKER_URL": "https://cache.example/"})
    assert network.url_of("cache-worker") == "https://cache.example"
    databases = load(Databases, env={"CLOUDPHONE_DEVICE_DATABASE_URL": "postgresql://d/device"})
    assert databases.url_of("device") == "postgresql://d/device"
    assert (
        databases.url_of("app") == databases.url_of("user") == databases.url_of("cache") == databases.core_database_url
    )
    assert databases.url_of("billing").endswith("/cloudphone_billing")


def test_a_clients_own_entry_goes_before_the_process_secret() -> None:
    env = {"CLOUDPHONE_FRESHNESS_KEY": "f", "CLOUDPHONE_CURSOR_KEY": "c"}
    both = load(Auth, env={**env, "CLOUDPHONE_SERVICE_CLIENTS": "user=u", "CLOUDPHONE_CLIENT_SECRET": "own"})
    assert (both.secret_of("user"), both.secret_of("device")) == ("u", "own")
    with pytest.raises(SettingsError, match=r"CLOUDPHONE_CLIENT_SECRET: .*bff-admin"):
        load(Auth, env=env).secret_of("bff-admin")


def test_an_explanation_names_every_setting_once_with_its_origin() -> None:
    settings = explain(*ALL, env={"CLOUDPHONE_PORT_BASE": "41000", "CLOUDPHONE_WARMUP_USERS": "none"})
    by_name = {setting.variable: setting for setting in settings}
    assert len(by_name) == len(settings)
    assert by_name["CLOUDPHONE_PORT_BASE"].origin == "environment"
    assert by_name["CLOUDPHONE_BUS_URL"].value == "nats://127.0.0.1:41022"
    assert by_name["CLOUDPHONE_BUS_URL"].origin == "default"
    assert by_name["CLOUDPHONE_WARMUP_USERS"].origin == "unreadable"
    assert "expected a whole number" in (by_name["CLOUDPHONE_WARMUP_USERS"].problem or "")
    assert by_name["CLOUDPHONE_CURSOR_KEY"].origin == "missing"


def test_misspelt_settings_are_found(tmp_path: Path) -> None:
    toml = tmp_path / "c.toml"
    toml.write_text("port_bass = 1\nport_base = 41000\n")
    env = {
        "CLOUDPHONE_CONFIG": str(toml),
        "CLOUDPHONE_REDIS_ULR": "redis://x",
        "CLOUDPHONE_CURSOR_KEY_FILE": "/x",
        "HOME": "/",
    }
    assert unknown(*ALL, env=env) == ["CLOUDPHONE_REDIS_ULR", "port_bass"]
