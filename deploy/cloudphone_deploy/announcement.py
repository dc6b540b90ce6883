"""What `cloudphone up` tells: its steps while it starts, then the addresses, the accounts and a call to paste."""

import json
import shlex
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from cloudphone_deploy.demo import Account

Style = Literal["full", "quiet", "json"]


class Up(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The content of up.json. `services` and `pids` by process name; `pids` has the servers and the supervisor too."""

    bff_admin: str
    bff_user: str
    services: dict[str, str]
    accounts: list[Account]
    pids: dict[str, int]


class Announcement:
    """`full` for a person, `json` prints up.json and nothing else, `quiet` nothing. Troubles go to standard error."""

    def __init__(self, style: Style = "full") -> None:
        self.style = style
        self._console = Console(highlight=False, soft_wrap=True, quiet=style != "full")
        self._troubles = Console(highlight=False, soft_wrap=True, stderr=True)
        self._began = time.monotonic()

    @contextmanager
    def step(self, doing: str, done: str) -> Generator[None]:
        """A line per step, with its seconds; while it lasts, a spinner where there is a terminal."""
        began = time.monotonic()
        with self._console.status(f"{doing} …"):
            yield
        self._console.print(f"[green]✓[/] {done} [dim]{time.monotonic() - began:.1f} s[/]")

    def tell(self, line: str) -> None:
        self._troubles.print(f"[dim]{time.strftime('%H:%M:%S')}[/] ", end="")
        self._troubles.print(line, markup=False)

    def ready(self, up: Up, logs: str, device: str | None) -> None:
        if self.style == "json":
            print(msgspec.json.encode(up).decode(), flush=True)
            return
        after = f"[dim]after {time.monotonic() - self._began:.1f} s[/]"
        if not up.services:
            self._console.print(f"\n[bold]The servers are up[/] {after}; run `cloudphone serve NAME…` beside them.")
            return
        self._console.print(f"\n[bold]Cloudphone is up[/] {after}\n")
        self._console.print(_addresses(up))
        if up.accounts:
            self._console.print("\n[bold]Demo accounts[/]")
            self._console.print(_accounts(up.accounts))
        if call := example(up, device):
            self._console.print("\n[bold]A device, composed from four services[/]")
            self._console.print(call, markup=False)
        self._console.print(
            f"\n[dim]Logs: {logs} · API documentation: {up.bff_admin}/schema · Ctrl-C or `make down` stops it[/]"
        )

    def stopped(self) -> None:
        self._console.print("[dim]Stopped; the data is kept.[/]")


def example(up: Up, device: str | None) -> str | None:
    """One line for a shell: signs in as the demo's administrator and asks for `device`."""
    admin = next((account for account in up.accounts if account.role == "admin"), None)
    if admin is None or device is None:
        return None
    login = json.dumps({"email": admin.email, "password": admin.password}, separators=(",", ":"))
    sign_in = f"curl -s {up.bff_admin}/auth/login -H 'Content-Type: application/json' -d {shlex.quote(login)}"
    token = f"""$({sign_in} | sed 's/.*"accessToken":"\\([^"]*\\)".*/\\1/')"""
    return f'curl -s {up.bff_admin}/admin/devices/{device} -H "Authorization: Bearer {token}"'


def _addresses(up: Up) -> Table:
    table = _table()
    table.add_row("admin BFF", up.bff_admin)
    table.add_row("user BFF", up.bff_user)
    for name, url in up.services.items():
        table.add_row(f"[dim]{name}[/]", f"[dim]{url}[/]")
    return table


def _accounts(accounts: list[Account]) -> Table:
    table = _table()
    for account in accounts:
        table.add_row(account.role, account.tenant, account.email, account.password)
    return table


def _table() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 1))
