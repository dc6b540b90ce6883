"""The demo's data: the same rows for the same seed, apart from their times, which end at the moment of seeding.

3 tenants, 200 users, 1,000 devices, 40 apps, 8,000 installations, plans, orders, and usage over 30 days.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import get_args
from uuid import UUID

import msgspec

from cloudphone_core.app.seed import SeedApp, SeedInstallation, SeedVersion
from cloudphone_core.billing.seed import SeedBalance, SeedName, SeedOrder, SeedPlan, SeedRun, SeedStep
from cloudphone_core.billing.seed_payments import SeedPayment
from cloudphone_core.billing.seed_sales import Sales, SeedCoupon, SeedRule, SeedSubscription, SeedTaxRate
from cloudphone_core.device.seed import SeedDevice, SeedNode, SeedOwner, SeedTemplate
from cloudphone_core.user.seed import SeedTenant, SeedUser
from cloudphone_shared.contracts.app import Abi
from cloudphone_shared.contracts.device import DeviceState
from cloudphone_shared.contracts.rating import RuleDefinition, RuleKind, Tier, TimeWindow
from cloudphone_shared.contracts.user import DataScope, Role

SEED = 20260101
USERS = 200
DEVICES = 1_000
INSTALLED = (2, 6, 10, 14)
"""How many apps every first, second, third and fourth device has: 8 on average, and views of different sizes."""
DAYS = 30
FIRST_VERSION = 10**12 + 1
"""What every entity has once it is seeded: incarnation 1, counter 1."""

_TENANTS = ("Aurora", "Basalt", "Cirrus")
_STAFF: tuple[tuple[Role, DataScope], ...] = (("admin", "tenant"), ("operator", "tenant"), ("support", "tenant"))
_REGIONS = ("eu-west", "us-east", "ap-south")
_TEMPLATES = (("Small", "12", 2, 2048, 16), ("Medium", "13", 4, 4096, 32), ("Large", "14", 8, 8192, 64))
_RULES: tuple[tuple[str, RuleKind, RuleDefinition], ...] = (
    ("By the start", "per-use", RuleDefinition(rate=Decimal(5))),
    (
        "By the hour",
        "tiered",
        RuleDefinition(tiers=[Tier(up_to_hours=100, rate=Decimal(4)), Tier(up_to_hours=None, rate=Decimal("2.5"))]),
    ),
    (
        "Cheaper at night",
        "time-based",
        RuleDefinition(rate=Decimal(4), windows=[TimeWindow(start="22:00", end="06:00", rate=Decimal("1.5"))]),
    ),
)
_PLANS = (
    ("Trial", 0, 7, 10, "Small", None),
    ("Basic", 990, 30, 100, "Small", "By the hour"),
    ("Plus", 1990, 30, 300, "Medium", "Cheaper at night"),
    ("Unlimited", 4990, 30, 744, "Large", None),
    ("Flex", 490, 30, 0, None, "By the start"),
)
"""Name, price, days, hours included, template of its devices, rule of what is beyond."""
_TAXES = (("DE", "19"), ("ES", "21"), ("FR", "20"))
COUPON = "WELCOME"
_CATEGORIES = ("games", "social", "tools", "video", "finance")
_HELD: tuple[DeviceState, ...] = ("running", "running", "running", "stopped", "stopped", "stopped", "allocated")
_ORDER_WAYS: tuple[tuple[str, ...], ...] = (
    ("pending", "provisioning", "paid", "completed"),
    ("pending", "provisioning", "paid", "completed"),
    ("pending", "provisioning", "paid", "completed"),
    ("pending", "cancelled"),
    ("pending", "expired"),
    ("pending", "provisioning", "compensating", "failed"),
)


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, ready for each service's own seed."""

    tenants: list[SeedTenant]
    users: list[SeedUser]
    nodes: list[SeedNode]
    templates: list[SeedTemplate]
    devices: list[SeedDevice]
    apps: list[SeedApp]
    installations: list[SeedInstallation]
    plans: list[SeedPlan]
    orders: list[SeedOrder]
    runs: list[SeedRun]
    balances: list[SeedBalance]
    sales: Sales


class Builder:
    def __init__(self, now: datetime, seed: int = SEED) -> None:
        self._random = random.Random(seed)
        self._now = now
        self._begin = now - timedelta(days=90)
        self._born = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)

    def build(self, password_hash: str) -> Dataset:
        tenants = [SeedTenant(id=self._id(), name=name, slug=name.lower(), created_at=self._begin) for name in _TENANTS]
        users = list(self._users(tenants, password_hash))
        customers = [user for user in users if user.role == "customer"]
        nodes = list(self._nodes())
        templates = list(self._templates())
        devices = list(self._devices(tenants, customers, nodes, templates))
        apps = list(self._apps())
        rules = list(self._rules())
        plans = list(self._plans(rules, templates))
        orders = list(self._orders(customers, devices, plans))
        payments = dict[UUID, list[SeedPayment]]()
        for order in orders:
            if order.payment_id is not None:
                payments.setdefault(order.user.id, []).append(_payment(order, order.payment_id))
        sales = Sales(
            rules=rules,
            tax_rates=list(self._tax_rates()),
            coupons=[SeedCoupon(id=self._id(), code=COUPON, percent=20, created_at=self._begin)],
            subscriptions=[self._subscription(order) for order in orders if order.steps[-1].state == "completed"],
        )
        return Dataset(
            tenants=tenants,
            users=users,
            nodes=nodes,
            templates=templates,
            devices=devices,
            apps=apps,
            installations=list(self._installations(devices, apps)),
            plans=plans,
            orders=orders,
            runs=list(self._runs(devices)),
            balances=[self._balance(user, payments.get(user.id, [])) for user in customers],
            sales=sales,
        )

    def _id(self) -> UUID:
        """Version 7 in form, the same for the same seed."""
        self._born += 1
        bits = self._random.getrandbits(74)
        return UUID(int=self._born << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1)

    def _ago(self, most_days: float, least_days: float = 0.0) -> datetime:
        return self._now - timedelta(days=self._random.uniform(least_days, most_days))

    def _users(self, tenants: Sequence[SeedTenant], password_hash: str) -> Iterator[SeedUser]:
        def user(tenant: SeedTenant, role: Role, scope: DataScope, name: str, local: str) -> SeedUser:
            return SeedUser(
                id=self._id(),
                tenant_id=tenant.id,
                name=name,
                email=f"{local}@{tenant.slug}.example",
                role=role,
                data_scope=scope,
                password_hash=password_hash,
                created_at=self._ago(90, 31),
                last_active_at=self._ago(20),
            )

        yield user(tenants[0], "admin", "all", "Platform Administrator", "root")
        for tenant in tenants:
            for role, scope in _STAFF:
                yield user(tenant, role, scope, f"{tenant.name} {role.capitalize()}", role)
        for number in range(1, USERS - len(tenants) * len(_STAFF)):
            tenant = tenants[(number - 1) % len(tenants)]
            yield user(tenant, "customer", "self", f"Customer {number:03d}", f"customer{number:03d}")

    def _nodes(self) -> Iterator[SeedNode]:
        for number in range(12):
            region = _REGIONS[number % len(_REGIONS)]
            yield SeedNode(
                id=self._id(),
                name=f"node-{region}-{number // len(_REGIONS) + 1}",
                region=region,
                capacity=120,
                created_at=self._begin,
                labels={"disk": "nvme" if number % 2 else "ssd"},
            )

    def _templates(self) -> Iterator[SeedTemplate]:
        for name, android, cores, memory, storage in _TEMPLATES:
            yield SeedTemplate(
                id=self._id(),
                name=name,
                android_version=android,
                cpu_cores=cores,
                memory_mib=memory,
                storage_gib=storage,
                created_at=self._begin,
            )

    def _devices(
        self,
        tenants: Sequence[SeedTenant],
        customers: Sequence[SeedUser],
        nodes: Sequence[SeedNode],
        templates: Sequence[SeedTemplate],
    ) -> Iterator[SeedDevice]:
        for number in range(DEVICES):
            held = number % 20 < 17
            owner = customers[number % len(customers)]
            state: DeviceState = self._random.choice(_HELD) if held else "idle"
            running = state == "running"
            changed = self._ago(0.4, 0.01)
            node = nodes[number % len(nodes)]
            yield SeedDevice(
                id=self._id(),
                tenant_id=owner.tenant_id if held else tenants[number % len(tenants)].id,
                name=f"Phone {number + 1:04d}",
                template_id=self._random.choice(templates).id,
                node_id=node.id,
                created_at=self._ago(80, 31),
                updated_at=changed,
                state=state,
                owner=_owner(owner) if held else None,
                tags=self._random.sample(["test", "prod", "farm", "vip", "eu", "us"], self._random.randint(0, 2)),
                adb_host="127.0.0.1" if running else None,
                adb_port=20_000 + number // len(nodes) if running else None,
                run_id=self._id() if running else None,
                started_at=changed if running else None,
            )

    def _apps(self) -> Iterator[SeedApp]:
        for number in range(1, 41):
            created = self._ago(80, 40)
            yield SeedApp(
                id=self._id(),
                package_name=f"example.demo.app{number:02d}",
                name=f"App {number:02d}",
                category=self._random.choice(_CATEGORIES),
                published=number % 10 != 0,
                created_at=created,
                versions=[self._version(code, created) for code in range(1, self._random.randint(1, 3) + 1)],
            )

    def _version(self, code: int, app_created: datetime) -> SeedVersion:
        return SeedVersion(
            id=self._id(),
            version_code=code,
            version_name=f"{code}.{self._random.randint(0, 9)}",
            sha256=f"{self._random.getrandbits(256):064x}",
            abis=list(get_args(Abi)[: self._random.randint(1, 4)]),
            size=self._random.randint(2_000_000, 180_000_000),
            created_at=app_created + timedelta(days=code),
        )

    def _installations(self, devices: Sequence[SeedDevice], apps: Sequence[SeedApp]) -> Iterator[SeedInstallation]:
        for number, device in enumerate(devices):
            for app in self._random.sample(apps, INSTALLED[number % len(INSTALLED)]):
                installed = self._ago(29, 1)
                yield SeedInstallation(
                    id=self._id(),
                    tenant_id=device.tenant_id,
                    device_id=device.id,
                    app_id=app.id,
                    app_version_id=app.versions[-1].id,
                    package_name=app.package_name,
                    created_at=installed,
                    updated_at=installed,
                    installed_at=installed,
                )

    def _rules(self) -> Iterator[SeedRule]:
        for name, kind, definition in _RULES:
            yield SeedRule(id=self._id(), name=name, kind=kind, definition=definition, created_at=self._begin)

    def _tax_rates(self) -> Iterator[SeedTaxRate]:
        for country, percent in _TAXES:
            yield SeedTaxRate(
                id=self._id(),
                country=country,
                name="VAT",
                percent=Decimal(percent),
                valid_from=date(2020, 1, 1),
                created_at=self._begin,
            )

    def _plans(self, rules: Sequence[SeedRule], templates: Sequence[SeedTemplate]) -> Iterator[SeedPlan]:
        rule_ids = {rule.name: rule.id for rule in rules}
        template_ids = {template.name: template.id for template in templates}
        for name, price, days, hours, template, rule in _PLANS:
            yield SeedPlan(
                id=self._id(),
                name=name,
                price=price,
                period_days=days,
                included_hours=hours,
                created_at=self._begin,
                template_id=template_ids[template] if template else None,
                rule_id=rule_ids[rule] if rule else None,
            )

    def _orders(
        self, customers: Sequence[SeedUser], devices: Sequence[SeedDevice], plans: Sequence[SeedPlan]
    ) -> Iterator[SeedOrder]:
        by_id = {customer.id: customer for customer in customers}
        for device in devices:
            if device.owner is not None and self._random.random() < 0.8:
                yield self._order(by_id[device.owner.id], device, self._random.choice(plans))

    def _order(self, customer: SeedUser, device: SeedDevice, plan: SeedPlan) -> SeedOrder:
        # Early enough to be in its first period: what came after it is not made up.
        begun = self._ago(min(DAYS, plan.period_days) - 1, 1)
        way = self._random.choice(_ORDER_WAYS)
        return SeedOrder(
            id=self._id(),
            tenant_id=customer.tenant_id,
            user=SeedName(id=customer.id, name=customer.name, email=customer.email, version=FIRST_VERSION),
            device=SeedName(id=device.id, name=device.name, version=FIRST_VERSION),
            plan=plan,
            payment_id=self._id() if way[-1] == "completed" else None,
            steps=[
                SeedStep(state=state, at=begun + timedelta(seconds=40 * place))  # pyright: ignore[reportArgumentType]
                for place, state in enumerate(way)
            ],
        )

    def _subscription(self, order: SeedOrder) -> SeedSubscription:
        assert order.device is not None
        return SeedSubscription(
            id=self._id(),
            order_id=order.id,
            tenant_id=order.tenant_id,
            user_id=order.user.id,
            device_id=order.device.id,
            plan_id=order.plan.id,
            price=order.plan.price,
            period_days=order.plan.period_days,
            begun_at=order.steps[-1].at,
        )

    def _runs(self, devices: Sequence[SeedDevice]) -> Iterator[SeedRun]:
        for device in devices:
            if device.owner is None or device.state == "allocated":
                continue
            for day in range(1, DAYS, 2):
                started = self._now - timedelta(days=day, hours=self._random.uniform(0, 8))
                yield self._run(device, self._id(), started, started + timedelta(hours=self._random.uniform(0.2, 8)))
            if device.run_id is not None:
                yield self._run(device, device.run_id, device.started_at or self._now, None)

    def _run(self, device: SeedDevice, run_id: UUID, started: datetime, stopped: datetime | None) -> SeedRun:
        assert device.owner is not None
        return SeedRun(
            id=self._id(),
            run_id=run_id,
            tenant_id=device.tenant_id,
            device_id=device.id,
            user_id=device.owner.id,
            started_at=started,
            stopped_at=stopped,
        )

    def _balance(self, user: SeedUser, paid: list[SeedPayment]) -> SeedBalance:
        return SeedBalance(
            user_id=user.id,
            tenant_id=user.tenant_id,
            available=self._random.randint(0, 20_000),
            opened_at=self._begin,
            paid=paid,
        )


def _payment(order: SeedOrder, payment_id: UUID) -> SeedPayment:
    return SeedPayment(
        id=payment_id,
        tenant_id=order.tenant_id,
        user_id=order.user.id,
        order_id=order.id,
        amount=order.plan.price,
        at=order.steps[-1].at,
    )


def _owner(user: SeedUser) -> SeedOwner:
    return SeedOwner(id=user.id, name=user.name, email=user.email, version=FIRST_VERSION)
