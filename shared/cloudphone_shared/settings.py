"""Settings: small frozen Structs, filled from the environment, from `_FILE` secrets and from one TOML file.

A field `port_base` is set by `CLOUDPHONE_PORT_BASE`, by the content of the file that `CLOUDPHONE_PORT_BASE_FILE` names,
or by the key `port_base` of the TOML file that `CLOUDPHONE_CONFIG` names; the first of these wins, then the default.
An empty variable counts as not set. Lists are JSON or `a,b`; dicts are JSON or `name=value;name=value`.
"""

import os
import re
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

PREFIX = "CLOUDPHONE_"
CONFIG = "CLOUDPHONE_CONFIG"

PORTS = {
    "bff-user": 0,
    "user": 1,
    "device": 2,
    "app": 3,
    "scheduler": 4,
    "billing": 5,
    "cache-worker": 8,
    "bff-admin": 10,
    "postgres": 20,
    "valkey": 21,
    "nats": 22,
    "adb": 23,
    "card-provider": 24,
}
"""Each process's port, counted from `CLOUDPHONE_PORT_BASE`."""

T = TypeVar("T", bound=msgspec.Struct)
Port = Annotated[int, msgspec.Meta(ge=1024, le=65_500)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Origin = Literal["environment", "file", "toml", "default", "missing", "unreadable"]


class SettingsError(ValueError):
    """A setting is missing or cannot be read. The message names the variable and what it expects, never a secret."""

    def __init__(self, variable: str, expected: str) -> None:
        super().__init__(f"{variable}: {expected}")
        self.variable = variable


class Secret(str):
    """Text that stays out of representations, so a logged or printed Struct does not give it away."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Where the processes listen and find each other. A URL of its own moves a process to another machine."""

    port_base: Port = 30_000
    host: str = "127.0.0.1"
    user_url: str | None = None
    device_url: str | None = None
    app_url: str | None = None
    scheduler_url: str | None = None
    billing_url: str | None = None
    cache_worker_url: str | None = None
    bff_admin_url: str | None = None
    bff_user_url: str | None = None

    def port_of(self, process: str) -> int:
        return self.port_base + PORTS[process]

    def url_of(self, process: str) -> str:
        """Without a slash at the end. `process` is a name of PORTS that speaks HTTP, such as `bff-admin`."""
        own: str | None = getattr(self, process.replace("-", "_") + "_url")
        return (own or f"http://{self.host}:{self.port_of(process)}").rstrip("/")


class Databases(msgspec.Struct, frozen=True, kw_only=True):
    """PostgreSQL URLs. A service with a URL of its own lives there, any other in core (or billing)."""

    port_base: Port = 30_000
    core_database_url: Secret = Secret()
    billing_database_url: Secret = Secret()
    user_database_url: Secret | None = None
    device_database_url: Secret | None = None
    app_database_url: Secret | None = None
    scheduler_database_url: Secret | None = None
    cache_database_url: Secret | None = None
    database_pool_size: Positive = 10

    def __post_init__(self) -> None:
        server = f"postgresql://postgres@127.0.0.1:{self.port_base + PORTS['postgres']}"
        _default(self, "core_database_url", Secret(f"{server}/cloudphone_core"))
        _default(self, "billing_database_url", Secret(f"{server}/cloudphone_billing"))

    def url_of(self, service: str) -> str:
        """The URL of `user`, `device`, `app`, `scheduler`, `billing` or `cache` (the cache worker's own tables)."""
        if service == "billing":
            return self.billing_database_url
        own: str | None = getattr(self, f"{service}_database_url")
        return own or self.core_database_url


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    """The cache's store: `redis://` or `rediss://` for one server, `redis+cluster://host:port,host:port` for a cluster,
    `redis+sentinel://host:port,host:port/master-name` for a master that these sentinels watch.

    `redis_budget_ms` is the longest that a request waits on Redis before it composes instead.
    """

    port_base: Port = 30_000
    redis_url: Secret = Secret()
    redis_budget_ms: Positive = 50

    def __post_init__(self) -> None:
        _default(self, "redis_url", Secret(f"redis://127.0.0.1:{self.port_base + PORTS['valkey']}/0"))


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The broker: `amqp://` for RabbitMQ, `nats://` for NATS JetStream."""

    port_base: Port = 30_000
    bus_url: Secret = Secret()

    def __post_init__(self) -> None:
        _default(self, "bus_url", Secret(f"nats://127.0.0.1:{self.port_base + PORTS['nats']}"))


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """With what a process signs in at the user service. `client_secret` is its own; `service_clients` holds every
    client's, for the service that checks them and for several services in one process.
    """

    client_secret: Secret | None = None
    service_clients: dict[str, Secret] | None = None

    def secret_of(self, client: str) -> Secret:
        """Raises SettingsError when neither the client's entry nor `client_secret` is set."""
        secret = (self.service_clients or {}).get(client) or self.client_secret
        if secret is None:
            expected = f"not set; expected the secret with which {client} signs in at the user service"
            raise SettingsError(f"{PREFIX}CLIENT_SECRET", expected)
        return secret


class Auth(Clients, frozen=True, kw_only=True):
    """All credentials. `freshness_key` and `cursor_key` sign tokens and cursors, the same in every process."""

    freshness_key: Secret
    cursor_key: Secret
    access_token_seconds: Positive = 600
    refresh_token_days: Positive = 30


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits per caller, as `count/window` pairs; `rate_limits_by_role` replaces them for a role."""

    rate_limits: str = "10/s,100/10s,500/min"
    rate_limits_by_role: dict[str, str] = {}
    login_rate_limits: str = "5/min,20/h"
    body_limit_bytes: Positive = 1_048_576


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """Who stands before the BFFs: `cors_origins` are the web origins whose pages may call them, `trusted_proxies` the
    addresses whose X-Forwarded-For is believed.
    """

    cors_origins: list[str] = []
    trusted_proxies: list[str] = []


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """Logs go to standard error; traces to `otlp_url` when it is set."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    otlp_url: str | None = None
    trace_sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class WarmupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the cache is warmed (a cron line), for how many most recently active users, how many views at once."""

    warmup_schedule: str = "*/5 * * * *"
    warmup_users: Positive = 100
    warmup_concurrency: Positive = 8


class CacheWorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose changes the cache worker writes into the feed, and which BFFs it warms: names of processes."""

    feed_services: list[str] = msgspec.field(default_factory=lambda: ["user", "device", "app", "billing"])
    warmed_bffs: list[str] = msgspec.field(default_factory=lambda: ["bff-admin", "bff-user"])


class PhonesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The farm of simulated phones: the folder it keeps them in, and the UNIX socket it takes orders at; by default
    `farm` and `farm/control` in the data folder.
    """

    data: str = ".cloudphone"
    phones_folder: str = ""
    phones_socket: str = ""

    def __post_init__(self) -> None:
        _default(self, "phones_folder", f"{self.data}/farm")
        _default(self, "phones_socket", f"{self.phones_folder}/control")


class Devices(PhonesSettings, frozen=True, kw_only=True):
    """What devices are: simulated phones, or containers of Docker Engine.

    `deployment_id` tells our containers and volumes from those of others on the same engine or farm. `adb_server` is
    `host:port`. `docker_url` unset: the engine that the Docker command line would use; `docker_image` is for templates
    that name none, with `{android_version}` for the template's. `docker_network`: a network on whose internal addresses
    phones are reached, instead of ports on loopback. `docker_privileged`: as Android's binder needs.
    `device_node_names`: whose phones this device worker looks after; `*` is every node.
    `apk_cache_bytes`: what it keeps at most of the APKs it installed.
    """

    port_base: Port = 30_000
    provider: Literal["simulated", "docker"] = "simulated"
    deployment_id: str = "local"
    adb_server: str = ""
    docker_url: str | None = None
    docker_image: str | None = None
    docker_network: str | None = None
    docker_privileged: bool = True
    device_node_names: list[str] = msgspec.field(default_factory=lambda: ["*"])
    apk_cache_folder: str = ""
    apk_cache_bytes: Positive = 4 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        _default(self, "adb_server", f"127.0.0.1:{self.port_base + PORTS['adb']}")
        _default(self, "apk_cache_folder", f"{self.data}/apk-cache")

    @property
    def nodes_served(self) -> list[str] | None:
        """None: every node."""
        return None if "*" in self.device_node_names else self.device_node_names


class AppStorage(msgspec.Struct, frozen=True, kw_only=True):
    """Where APKs are kept: `file://` with a path, by default `apps` in the data folder, or what obstore reads, such as
    `s3://bucket/prefix?endpoint=…&region=…` (the keys are the usual `AWS_…` variables). `upload_limit_bytes` is the
    most that one may have. A folder keeps `app_storage_reserve_bytes` of its disk free. `store_abis`: those that some
    phone here can run.
    """

    data: str = ".cloudphone"
    app_storage_url: Secret = Secret()
    app_storage_reserve_bytes: Annotated[int, msgspec.Meta(ge=0)] = 256 << 20
    upload_limit_bytes: Positive = 4 << 30
    upload_life_seconds: Positive = 86_400
    uploads_per_caller: Positive = 20
    store_abis: list[str] = msgspec.field(default_factory=lambda: ["arm64-v8a", "armeabi-v7a", "x86_64", "x86"])

    def __post_init__(self) -> None:
        _default(self, "app_storage_url", Secret(Path(self.data, "apps").absolute().as_uri()))


class Payments(msgspec.Struct, frozen=True, kw_only=True):
    """The card provider: Stripe, or whatever speaks its API at `card_api_url`, such as the provider for trying out
    that `make up` starts. `card_webhook_secrets` may be two while one replaces the other. `checkout_return_url`: where
    the provider's page sends the customer back to. `adjustment_limit`: above so many minor units a second person
    decides.
    """

    port_base: Port = 30_000
    card_api_url: str = ""
    card_api_key: Secret | None = None
    card_webhook_secrets: list[Secret] = []
    checkout_return_url: str = ""
    adjustment_limit: Annotated[int, msgspec.Meta(ge=0)] = 10_000

    def __post_init__(self) -> None:
        _default(self, "card_api_url", f"http://127.0.0.1:{self.port_base + PORTS['card-provider']}")
        _default(self, "checkout_return_url", f"http://127.0.0.1:{self.port_base + PORTS['bff-user']}/payments/return")


class Invoicing(msgspec.Struct, frozen=True, kw_only=True):
    """`invoice_fonts`: font files (TrueType, OpenType, collections) that invoices are set in, in the order in which
    they are tried for each character; none: those that the system has in the usual places."""

    invoice_fonts: list[str] = []


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it stands. `value` has secrets hidden; `problem` is what keeps it from being read, or None."""

    variable: str
    value: str
    origin: Origin
    problem: str | None = None


def load(cls: type[T], *, env: Mapping[str, str] | None = None, toml: Path | None = None) -> T:
    """Raises SettingsError for the first setting that is missing or unreadable."""
    sources = _Sources(env, toml)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(cls):
        raw, origin = sources.find(field.name)
        if origin not in ("default", "missing"):
            values[field.name] = _convert(field, raw)
        elif field.required:
            raise SettingsError(_variable(field), f"not set; expected {_expected(field.type)}")
    return cls(**values)


def explain(
    *classes: type[msgspec.Struct], env: Mapping[str, str] | None = None, toml: Path | None = None
) -> list[Setting]:
    """Every setting of `classes`, once, in their order; unreadable ones carry their problem instead of raising."""
    sources = _Sources(env, toml)
    found: dict[str, Setting] = {}
    for cls in classes:
        try:
            loaded = load(cls, env=env, toml=toml)
        except SettingsError:
            loaded = None
        for field in msgspec.structs.fields(cls):
            found.setdefault(field.name, _explain(field, sources, loaded))
    return list(found.values())


def unknown(
    *classes: type[msgspec.Struct], env: Mapping[str, str] | None = None, toml: Path | None = None
) -> list[str]:
    """Variables and TOML keys that look like settings and are none: most often a misspelling."""
    names = {field.name for cls in classes for field in msgspec.structs.fields(cls)}
    known = {PREFIX + name.upper() for name in names}
    sources = _Sources(env, toml)
    variables = [
        name
        for name in sources.env
        if name.startswith(PREFIX) and name != CONFIG and name not in known and name.removesuffix("_FILE") not in known
    ]
    return sorted(variables) + sorted(key for key in sources.toml if key not in names)


def hide_password(text: str) -> str:
    """`text` with the credentials of every URL in it replaced by `***`; they end at the authority's last `@`."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "***@", text)


class _Sources:
    def __init__(self, env: Mapping[str, str] | None, toml: Path | None) -> None:
        self.env = os.environ if env is None else env
        named = self.env.get(CONFIG)
        path = toml or (Path(named) if named else None)
        self.toml = _read_toml(path) if path else dict[str, Any]()

    def find(self, name: str) -> tuple[Any, Origin]:
        variable = PREFIX + name.upper()
        if value := self.env.get(variable):
            return value, "environment"
        if path := self.env.get(variable + "_FILE"):
            return _read_file(variable + "_FILE", Path(path)), "file"
        if name in self.toml:
            return self.toml[name], "toml"
        return None, "default"


def _read_file(variable: str, path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(variable, f"expected a readable text file, but {path} is none ({_reason(error)})") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(CONFIG, f"expected a readable TOML file, but {path} is none ({_reason(error)})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(CONFIG, f"{path} is not valid TOML: {_place(error)}") from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "unreadable" if isinstance(error, OSError) else "not UTF-8"


def _place(error: tomllib.TOMLDecodeError) -> str:
    # The parser's message may quote the file, which holds secrets; its position does not.
    found = re.search(r"\(at [^()]*\)$", str(error))
    return f"syntax error {found[0]}" if found else "syntax error"


def _convert(field: msgspec.structs.FieldInfo, raw: Any) -> Any:
    try:
        return msgspec.convert(_shape(raw, field.type), field.type, strict=False, dec_hook=_secret)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        shown = "" if _is_secret(field) else f", got {hide_password(str(raw))!r}"
        raise SettingsError(_variable(field), f"expected {_expected(field.type)}{shown}{_detail(error)}") from None


def _shape(raw: Any, kind: Any) -> Any:
    """Text from the environment or a file, opened up when the field is a list or a dict."""
    if not isinstance(raw, str):
        return raw
    containers = {get_origin(option) for option in _options(kind)}
    if dict in containers:
        return msgspec.json.decode(raw) if raw.startswith("{") else dict(_pair(part) for part in _parts(raw, ";"))
    if list in containers:
        return msgspec.json.decode(raw) if raw.startswith("[") else _parts(raw, ",")
    return raw


def _parts(raw: str, separator: str) -> list[str]:
    return [part.strip() for part in raw.split(separator) if part.strip()]


def _pair(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise ValueError("a part without `=`")
    return name.strip(), value.strip()


def _secret(kind: type, raw: Any) -> Any:
    if not isinstance(raw, str):
        raise ValueError("not text")
    return kind(raw)


def _default(struct: msgspec.Struct, name: str, value: str) -> None:
    if not getattr(struct, name):
        msgspec.structs.force_setattr(struct, name, value)


def _explain(field: msgspec.structs.FieldInfo, sources: _Sources, loaded: msgspec.Struct | None) -> Setting:
    variable = _variable(field)
    try:
        raw, origin = sources.find(field.name)
        if origin == "default":
            if field.required:
                return Setting(
                    variable=variable, value="", origin="missing", problem=f"expected {_expected(field.type)}"
                )
            value = getattr(loaded, field.name) if loaded else field.default
        else:
            value = _convert(field, raw)
        return Setting(variable=variable, value=_shown(field, value, origin), origin=origin)
    except SettingsError as error:
        return Setting(variable=variable, value="", origin="unreadable", problem=str(error))


def _shown(field: msgspec.structs.FieldInfo, value: Any, origin: Origin) -> str:
    if value is None or value is msgspec.NODEFAULT or value in ("", []):
        return ""
    if isinstance(value, dict):
        hidden = _is_secret(field)
        pairs = cast("dict[str, Any]", value).items()
        return "; ".join(f"{name}={'***' if hidden else text}" for name, text in pairs)
    if _is_secret(field):
        return hide_password(value) if "://" in value else "***"
    return hide_password(str(value))


def _variable(field: msgspec.structs.FieldInfo) -> str:
    return PREFIX + field.name.upper()


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_secret(field: msgspec.structs.FieldInfo) -> bool:
    return any(option is Secret or Secret in get_args(option) for option in _options(field.type))


def _expected(kind: Any) -> str:
    return " or ".join(_spelled(option) for option in _options(kind) if option is not types.NoneType)


def _spelled(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if origin is Annotated:
        base, *metas = get_args(kind)
        return _spelled(base) + "".join(_bounds(meta) for meta in metas)
    if origin is dict:
        return "name=value pairs separated by `;`, or a JSON object"
    if origin is list:
        return "values separated by `,`, or a JSON array"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Secret: "a secret text"}
    return words.get(kind, str(kind))


def _bounds(meta: msgspec.Meta) -> str:
    low = "" if meta.ge is None else f" from {meta.ge}"
    return low + ("" if meta.le is None else f" to {meta.le}")


def _detail(error: Exception) -> str:
    return " (malformed JSON)" if type(error) is msgspec.DecodeError else ""
