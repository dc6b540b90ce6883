"""What the demo data gives a newcomer: accounts to sign in with and a device to ask for."""

import msgspec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A demo account, its password in clear: it opens nothing but made-up data."""

    role: str
    tenant: str
    email: str
    password: str


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """`device` is the id that the example call asks for. Both are empty when there is no demo data."""

    accounts: list[Account] = []
    device: str | None = None
