"""Phones in containers of Docker Engine. Android's own image is redroid; any image whose init runs adbd will do."""

import asyncio
import os
import re
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import docker
import docker.errors
import msgspec
import requests

from cloudphone_shared.settings import Devices

from .archives import hashed
from .port import Container, ContainerPlan, ContainerState, Copied, ProviderAway, ProviderRefused, Refusal, Volume

T = TypeVar("T")

Api = Any
"""The SDK's `APIClient`, which has no types: one method for each of the engine's HTTP calls."""

ADBD = "5555/tcp"
DATA = "/data"
SOCKET = "unix:///var/run/docker.sock"
REDROID = "redroid/redroid:{android_version}.0.0-latest"

_VOLUME = "cloudphone.volume"
_CARRIER = {"cloudphone.role": "carrier"}
# Android takes no notice of SIGTERM, so that a stop ends with SIGKILL.
_ENDED_AS_TOLD = frozenset({0, 137, 143})
_EXITED = re.compile(r"Exited \((\d+)\)")
_CHUNK = 1 << 20


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine, and how its containers are made.

    `image`: for templates that name none; `{android_version}` stands for the template's. `network` None: adbd is
    published on loopback; a network's name: reached by its internal address there. `privileged` is what Android's
    binder needs; an image that does without should.
    """

    url: str = SOCKET
    image: str = REDROID
    network: str | None = None
    privileged: bool = True
    pids: int = 4096
    stop_seconds: int = 10
    health_seconds: int = 5
    timeout_seconds: int = 60
    threads: int = 16


def engine_of(settings: Devices) -> Engine:
    return Engine(
        url=settings.docker_url or os.environ.get("DOCKER_HOST") or SOCKET,
        image=settings.docker_image or REDROID,
        network=settings.docker_network,
        privileged=settings.docker_privileged,
    )


class DockerProvider:
    """Nothing is asked of the engine until the first call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(engine.threads, thread_name_prefix="docker")
        self._opened: Api = None

    async def create(self, plan: ContainerPlan) -> Container:
        return await self._ask(lambda api: self._create(api, plan))

    async def start(self, container_id: str) -> Container:
        return await self._act(container_id, lambda api: api.start(container_id))

    async def stop(self, container_id: str) -> Container:
        return await self._act(container_id, lambda api: api.stop(container_id, timeout=self._engine.stop_seconds))

    async def reboot(self, container_id: str) -> Container:
        return await self._act(container_id, lambda api: api.restart(container_id, timeout=self._engine.stop_seconds))

    async def remove(self, container_id: str) -> None:
        def remove(api: Api) -> None:
            with suppress(docker.errors.NotFound):
                api.remove_container(container_id, force=True, v=False)

        await self._ask(remove)

    async def inspect(self, container_id: str) -> Container | None:
        def inspect(api: Api) -> Container | None:
            try:
                return self._container(api.inspect_container(container_id))
            except docker.errors.NotFound:
                return None

        return await self._ask(inspect)

    async def find(self, labels: Mapping[str, str]) -> list[Container]:
        """In one call of the engine, however many there are."""
        wanted = [f"{name}={value}" for name, value in labels.items()]

        def find(api: Api) -> list[Container]:
            listed = api.containers(all=True, filters={"label": [*wanted, _VOLUME]})
            return [self._listed(each) for each in listed]

        return await self._ask(find)

    async def copy_volume(self, source: str, target: str, labels: Mapping[str, str]) -> Copied:
        return await self._ask(lambda api: self._copy(api, source, target, labels))

    async def remove_volume(self, name: str) -> None:
        def remove(api: Api) -> None:
            with suppress(docker.errors.NotFound):
                api.remove_volume(name)

        await self._ask(remove)

    async def volumes(self, labels: Mapping[str, str]) -> list[Volume]:
        wanted = [f"{name}={value}" for name, value in labels.items()]

        def volumes(api: Api) -> list[Volume]:
            listed: list[dict[str, Any]] = api.volumes(filters={"label": wanted})["Volumes"] or []
            return [
                Volume(name=each["Name"], labels=each["Labels"] or {}, created_at=_moment(each.get("CreatedAt")))
                for each in listed
            ]

        return await self._ask(volumes)

    async def about(self) -> dict[str, Any]:
        """What the engine tells of itself and its machine; its API's `info`."""
        return await self._ask(lambda api: api.info())

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._opened is not None:
            self._opened.close()

    async def _act(self, container_id: str, act: Callable[[Api], object]) -> Container:
        def acted(api: Api) -> Container:
            act(api)
            return self._container(api.inspect_container(container_id))

        return await self._ask(acted)

    async def _ask(self, question: Callable[[Api], T]) -> T:
        def asked() -> T:
            with _errors():
                return question(self._api())

        return await asyncio.get_running_loop().run_in_executor(self._threads, asked)

    def _api(self) -> Api:
        if self._opened is None:
            engine = self._engine
            self._opened = docker.APIClient(
                engine.url,
                version="auto",
                timeout=engine.timeout_seconds,
                num_pools=engine.threads,  # pyright: ignore[reportArgumentType]
            )
        return self._opened

    def _create(self, api: Api, plan: ContainerPlan) -> Container:
        image = (plan.image or self._engine.image).format(android_version=plan.android_version)
        _have_image(api, image)
        _have_volume(api, plan.volume, plan.labels)
        try:
            api.create_container_from_config(self._config(api, plan, image), plan.name)
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
        made = self._container(api.inspect_container(plan.name))
        if made.volume != plan.volume:
            raise ProviderRefused("exists", f"There is another container named {plan.name}")
        return made

    def _config(self, api: Api, plan: ContainerPlan, image: str) -> Any:
        """Limits are hard: what a phone may not have it cannot take from its neighbours. The engine refuses more cores
        than its machine has.

        The engine restarts nothing by itself: a phone that ended is noticed, its run closed, and started again by us.
        """
        engine, memory = self._engine, plan.memory_mib << 20
        host = api.create_host_config(
            binds={plan.volume: {"bind": DATA, "mode": "rw"}},
            nano_cpus=min(plan.cpu_cores, api.info()["NCPU"]) * 10**9,
            mem_limit=memory,
            memswap_limit=memory,
            pids_limit=engine.pids,
            restart_policy={"Name": "no"},
            privileged=engine.privileged,
            security_opt=None if engine.privileged else ["no-new-privileges"],
            port_bindings={} if engine.network else {ADBD: ("127.0.0.1", None)},
            network_mode=engine.network or "bridge",
            log_config={"type": "json-file", "config": {"max-size": "4m", "max-file": "2"}},
        )
        return api.create_container_config(
            image,
            _boot_arguments(plan),
            hostname=plan.name[:63],
            ports=[(ADBD.partition("/")[0], "tcp")],
            labels={**plan.labels, _VOLUME: plan.volume},
            healthcheck=_health_check(engine.health_seconds),
            host_config=host,
        )

    def _copy(self, api: Api, source: str, target: str, labels: Mapping[str, str]) -> Copied:
        """Through the engine, a chunk at a time. What is hashed is what was written, read again."""
        api.inspect_volume(source)
        using = api.containers(filters={"volume": source, "status": "running"})
        if using:
            raise ProviderRefused("in-use", f"The volume {source} belongs to a phone that is on")
        carrier = f"copy-of-{target}"
        with suppress(docker.errors.NotFound):
            api.remove_container(carrier, force=True)
        with suppress(docker.errors.NotFound):
            api.remove_volume(target)
        _have_volume(api, target, labels)
        image = self._image_of(api, source)
        host = api.create_host_config(
            binds={source: {"bind": "/from", "mode": "ro"}, target: {"bind": "/to", "mode": "rw"}}, network_mode="none"
        )
        # It carries both volumes and is never started, so it needs nothing of the image but its existence.
        made = api.create_container(image, ["true"], name=carrier, labels=_CARRIER, host_config=host)["Id"]
        try:
            content, _ = api.get_archive(made, "/from/.", chunk_size=_CHUNK)
            api.put_archive(made, "/to", content)
            written, _ = api.get_archive(made, "/to/.", chunk_size=_CHUNK)
            return hashed(written)
        finally:
            api.remove_container(made, force=True)

    def _image_of(self, api: Api, volume: str) -> str:
        """That of whoever uses the volume, else any of ours that is there."""
        users = api.containers(all=True, filters={"volume": volume}) or api.containers(
            all=True, filters={"label": _VOLUME}, limit=1
        )
        if users:
            return users[0]["ImageID"]
        images = api.images(quiet=True)
        if not images:
            raise ProviderRefused("no-image", "The engine has no image to copy a volume with")
        return images[0]

    def _container(self, found: Mapping[str, Any]) -> Container:
        """From the engine's full description of one."""
        config, state = found["Config"], found["State"]
        health: dict[str, Any] = state.get("Health") or {}
        labels: dict[str, str] = config["Labels"] or {}
        return Container(
            id=found["Id"],
            name=found["Name"].removeprefix("/"),
            volume=labels.get(_VOLUME, ""),
            labels=labels,
            state="crashed"
            if state["OOMKilled"] and not state["Running"]
            else _state(state["Status"], state["ExitCode"], health.get("Status")),
            address=self._address(found["NetworkSettings"]) if state["Running"] else None,
            created_at=_moment(found["Created"]),
        )

    def _listed(self, found: Mapping[str, Any]) -> Container:
        """From the engine's line about one in a list."""
        exited = _EXITED.search(found["Status"])
        health = "starting" if "(health: starting)" in found["Status"] else None
        published = [each for each in found["Ports"] if each["PrivatePort"] == 5555 and "PublicPort" in each]
        address = (published[0]["IP"], published[0]["PublicPort"]) if published else None
        if self._engine.network and found["State"] == "running":
            address = self._address(found["NetworkSettings"])
        return Container(
            id=found["Id"],
            name=found["Names"][0].removeprefix("/"),
            volume=found["Labels"][_VOLUME],
            labels=found["Labels"],
            state=_state(found["State"], int(exited[1]) if exited else 0, health),
            address=address,
            created_at=datetime.fromtimestamp(found["Created"], UTC),
        )

    def _address(self, network: Mapping[str, Any]) -> tuple[str, int] | None:
        if self._engine.network:
            inside = network["Networks"].get(self._engine.network, {}).get("IPAddress")
            return (inside, 5555) if inside else None
        ports: dict[str, Any] = network.get("Ports") or {}
        bound: list[dict[str, str]] = ports.get(ADBD) or []
        return (bound[0]["HostIp"], int(bound[0]["HostPort"])) if bound else None


def _health_check(every: int) -> Mapping[str, Any]:
    second = 10**9
    return {
        "test": ["CMD", "/system/bin/sh", "-c", '[ "$(/system/bin/getprop sys.boot_completed)" = 1 ]'],
        "interval": every * second,
        "timeout": 3 * second,
        "start_period": 60 * second,
        "retries": 3,
    }


def _boot_arguments(plan: ContainerPlan) -> list[str]:
    return [
        f"androidboot.redroid_width={plan.width}",
        f"androidboot.redroid_height={plan.height}",
        f"androidboot.redroid_dpi={plan.dpi}",
        "androidboot.redroid_gpu_mode=guest",
    ]


def _have_image(api: Api, image: str) -> None:
    try:
        api.inspect_image(image)
    except docker.errors.ImageNotFound:
        failure = _pull(api, image)
        if failure:
            missing = f"The image {image} is not there and cannot be pulled: {failure}"
            raise ProviderRefused("no-image", missing) from None


def _pull(api: Api, image: str) -> str | None:
    """Why it failed; None when it is there now."""
    try:
        told = list(api.pull(image, stream=True, decode=True))
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    return next((str(each["error"]) for each in told if "error" in each), None)


def _have_volume(api: Api, name: str, labels: Mapping[str, str]) -> None:
    api.create_volume(name, labels=dict(labels))


def _state(status: str, exit_code: int, health: str | None) -> ContainerState:
    if status in ("running", "restarting", "paused"):
        return "booting" if health == "starting" else "running"
    return "off" if status == "created" or exit_code in _ENDED_AS_TOLD else "crashed"


def _moment(text: str | None) -> datetime | None:
    """The engine writes nanoseconds, which are cut."""
    if not text:
        return None
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00")))


@contextmanager
def _errors() -> Generator[None]:
    """What the SDK raises, as the platform says it."""
    try:
        yield
    except docker.errors.APIError as error:
        code = _refusal(error)
        if code is None:
            raise ProviderAway(f"Docker Engine failed: {error.explanation or error}") from error
        raise ProviderRefused(code, str(error.explanation or error)) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise ProviderAway(f"Docker Engine does not answer: {error}") from error


def _refusal(error: docker.errors.APIError) -> Refusal | None:
    said = str(error.explanation or error).lower()
    if "no space left" in said:
        return "no-space"
    by_status: dict[int, Literal["unknown", "in-use", "invalid"]] = {404: "unknown", 409: "in-use", 400: "invalid"}
    return by_status.get(error.status_code or 0)
