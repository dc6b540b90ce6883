"""A Docker Engine of the tests' own, and an image whose init is a phone: no registry, nothing of Android."""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import cast

from tests.servers import Server, program

IMAGE = "cloudphone/phone:test"

_INIT = """
import asyncio, signal, sys
from pathlib import Path
from cloudphone_phone import Model, Phone

async def main():
    phone = Phone(Path("/data/phone"), model=Model(boot_seconds=0.1), host="0.0.0.0", port=5555)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGUSR1, phone.crash)
    await phone.start()
    await phone.until("running")
    Path("/booted").touch()
    ends = [asyncio.ensure_future(each) for each in (told.wait(), phone.until("off", "crashed"))]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    crashed = phone.state == "crashed"
    await phone.stop()
    sys.exit(crashed)

asyncio.run(main())
"""

_IMPORTED = """
import sys
import cloudphone_phone
print(*(module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)), sep="\\n")
"""

_UNNEEDED = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "turtledemo",
}


class DockerEngine(Server):
    """Publishes on loopback by its own proxy: no packet filter is touched, nothing is routed."""

    scheme = "unix"

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/socket"

    def command(self) -> Sequence[str]:
        return [
            program("dockerd", "/usr/sbin"),
            f"--host={self.url}",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/run",
            f"--pidfile={self.folder}/pid",
            "--bip=172.31.255.1/24",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-masq=false",
            "--ip-forward=false",
        ]

    def ready(self) -> bool:
        asked = ["docker", "--host", self.url, "version", "--format", "{{json .Server}}"]
        answer = subprocess.run(asked, capture_output=True, check=False, text=True)
        with contextlib.suppress(json.JSONDecodeError):
            return answer.returncode == 0 and json.loads(answer.stdout) is not None
        return False

    def remove(self) -> None:
        for container in self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", container)
        self.stop()
        super().remove()

    def docker(self, *command: str) -> str:
        done = subprocess.run(["docker", "--host", self.url, *command], capture_output=True, check=False, text=True)
        return done.stdout

    def make_image(self) -> str:
        """A Python with the phone in it, from what runs these tests; `/system/bin` as far as a health check looks."""
        arguments = ["import", "--change", 'ENTRYPOINT ["/init"]', "-", IMAGE]
        importing = subprocess.Popen(["docker", "--host", self.url, *arguments], stdin=subprocess.PIPE)
        assert importing.stdin
        with tarfile.open(fileobj=importing.stdin, mode="w|", dereference=True) as image:
            _fill(image)
        importing.stdin.close()
        assert importing.wait(120) == 0
        return IMAGE


def _fill(image: tarfile.TarFile) -> None:
    interpreter, roots = Path(sys.executable).resolve(), _roots()
    shell = Path(program("busybox", "/usr/bin", "/bin")).resolve()
    needed = [interpreter, *_python(), *_packages(roots)]
    extensions = [path for path in needed if ".so" in path.suffixes]
    for path in sorted({os.path.normpath(each) for each in [*needed, *_libraries([interpreter, shell, *extensions])]}):
        image.add(path, recursive=False)
    search = ":".join(sorted({str(root.parent) for root in roots}))
    start = f"export PYTHONPATH={search} LD_LIBRARY_PATH={sysconfig.get_config_var('LIBDIR')}\n"
    _put(image, "code/init.py", _INIT)
    _put(image, "init", f"#!/bin/sh\n{start}exec {interpreter} -B /code/init.py\n", 0o755)
    _put(image, "system/bin/getprop", "#!/bin/sh\n[ -e /booted ] && echo 1\n", 0o755)
    for name in ("bin/sh", "system/bin/sh"):
        _put(image, name, shell.read_bytes(), 0o755)


def _roots() -> list[Path]:
    """The packages that the phone imports, ours and others', as files."""
    found = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, check=True, text=True).stdout.split()
    standard = Path(sysconfig.get_path("stdlib"))
    return sorted({_top(Path(each)) for each in found if standard not in Path(each).parents or "site-packages" in each})


def _top(module: Path) -> Path:
    while (module.parent / "__init__.py").exists():
        module = module.parent
    return module.parent if module.name == "__init__.py" else module


def _packages(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        yield from _files(root) if root.is_dir() else [root]
        # Wheels keep the libraries they bring beside their package.
        yield from root.parent.glob(f"{root.name.lower()}.libs/*")


def _python() -> Iterator[Path]:
    return _files(Path(sysconfig.get_path("stdlib")))


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _UNNEEDED and not name.startswith("config-")]
        yield from (Path(place, name) for name in names if not name.endswith((".pyc", ".pyi", ".a")))


def _libraries(programs: Sequence[Path]) -> set[Path]:
    """What the dynamic linker would load for them."""
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, check=False, text=True).stdout
    words = {
        word for line in told.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")
    }
    return {path for word in words for path in (Path(word), Path(word).resolve()) if path.exists()}


def _put(image: tarfile.TarFile, name: str, content: str | bytes, mode: int = 0o644) -> None:
    body = content.encode() if isinstance(content, str) else content
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(body), mode
    image.addfile(entry, cast("BytesIO", BytesIO(body)))
