"""One example of each contract that a reader of the documents meets first. They belong together: ids recur."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from .app import Installation, InstallationCreate
from .billing import Balance, DeviceUsage, Order, OrderCancel, OrderCreate, OrderEvent, Plan, PlanCreate
from .device import (
    Device,
    DeviceAssign,
    DeviceCreate,
    DevicePatch,
    DeviceSummary,
    NodeCreate,
    NodeSummary,
    TemplateCreate,
    TemplateSummary,
)
from .invoice import BillToSet, CreditNoteCreate, TaxRateCreate
from .ledger import AdjustmentCreate
from .purchase import CouponCreate, OrderRefund, PlanChange
from .quota import QuotaSet
from .rating import BudgetSet, RuleCreate, RuleDefinition, Tier
from .user import Credentials, RefreshRequest, Registration, Tokens, User, UserCreate, UserPatch, UserSuspend
from .warmup import WarmupSchedule

_TENANT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_ANA = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
_PHONE = UUID("01890a5d-ac96-774b-bcce-b302099a8059")
_TEMPLATE = UUID("01890a5d-ac96-774b-bcce-b302099a805a")
_NODE = UUID("01890a5d-ac96-774b-bcce-b302099a805b")
_PLAN = UUID("01890a5d-ac96-774b-bcce-b302099a805c")
_ORDER = UUID("01890a5d-ac96-774b-bcce-b302099a805d")
_CHESS = UUID("01890a5d-ac96-774b-bcce-b302099a805e")
_CHESS_2 = UUID("01890a5d-ac96-774b-bcce-b302099a805f")
_MARCH = datetime(2026, 3, 1, tzinfo=UTC)
_NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
_FIRST = 1_000_000_000_001

_SECRET = "correct horse battery"  # noqa: S105

EXAMPLES: tuple[msgspec.Struct, ...] = (
    Credentials(email="ana@example.com", password=_SECRET),
    RefreshRequest(refresh_token="the-refresh-token-of-the-last-answer"),  # noqa: S106
    Registration(tenant="acme", name="Ana Lopez", email="ana@example.com", password=_SECRET),
    Tokens(access_token="eyJhbGciOiJFZERTQSJ9.e30.c2ln", refresh_token="x" * 43, expires_in=600),  # noqa: S106
    User(
        id=_ANA, tenant_id=_TENANT, tenant_name="Acme", name="Ana Lopez", email="ana@example.com", role="customer",
        data_scope="self", status="active", created_at=_MARCH, updated_at=_NOON, last_active_at=_NOON, version=_FIRST,
    ),
    UserCreate(name="Ana Lopez", email="ana@example.com", password=_SECRET),
    UserPatch(name="Ana López"),
    UserSuspend(reason="Unpaid since February"),
    Device(
        id=_PHONE, tenant_id=_TENANT, name="Test phone 7", owner_id=_ANA, owner_name="Ana Lopez",
        owner_email="ana@example.com", state="allocated", desired_state="allocated", provider="simulated",
        node=NodeSummary(id=_NODE, name="eu-1", region="eu", status="online"),
        template=TemplateSummary(id=_TEMPLATE, name="Standard", android_version="14", width=1080, height=1920),
        tags=["lab"], generation=1, run_id=None, adb_host=None, adb_port=None, created_at=_MARCH, updated_at=_NOON,
        version=_FIRST,
    ),
    DeviceSummary(
        id=_PHONE, tenant_id=_TENANT, name="Test phone 7", owner_id=_ANA, owner_name="Ana Lopez", state="allocated",
        node_id=_NODE, template_id=_TEMPLATE, tags=["lab"], created_at=_MARCH, updated_at=_NOON, version=_FIRST,
    ),
    DeviceCreate(name="Test phone 7", template_id=_TEMPLATE, tags=["lab"]),
    DevicePatch(name="Test phone 8"),
    DeviceAssign(owner_id=_ANA),
    NodeCreate(name="eu-1", region="eu", capacity=100),
    TemplateCreate(name="Standard", android_version="14", cpu_cores=4, memory_mib=4096, storage_gib=32),
    Installation(
        id=_CHESS, device_id=_PHONE, app_id=_CHESS, app_version_id=_CHESS_2, package_name="com.example.chess",
        app_name="Chess", version_name="1.2", state="installed", attempt=1, installed_at=_NOON, updated_at=_NOON,
    ),
    InstallationCreate(device_id=_PHONE, app_version_id=_CHESS_2),
    Plan(
        id=_PLAN, name="Basic", price=1999, currency="USD", period_days=30, included_hours=100, active=True,
        created_at=_MARCH, version=_FIRST,
    ),
    PlanCreate(name="Basic", price=1999, included_hours=100),
    Order(
        id=_ORDER, tenant_id=_TENANT, user_id=_ANA, user_name="Ana Lopez", user_email="ana@example.com",
        device_id=None, device_name=None, plan_id=_PLAN, plan_name="Basic", amount=1999, currency="USD",
        state="pending", created_at=_NOON, updated_at=_NOON,
        history=[OrderEvent(state="pending", reason="", at=_NOON)], version=_FIRST,
    ),
    OrderCreate(plan_id=_PLAN),
    OrderCancel(reason="Ordered by mistake"),
    OrderRefund(amount=500, reason="The phone was late"),
    CouponCreate(code="WELCOME-20", percent=20, most_uses=1000),
    AdjustmentCreate(amount=500, currency="USD", reason="For the outage of March 3"),
    RuleCreate(
        name="By the hour", kind="tiered", currency="USD",
        definition=RuleDefinition(
            tiers=[Tier(up_to_hours=100, rate=Decimal("1.25")), Tier(up_to_hours=None, rate=Decimal("0.9"))]
        ),
    ),
    BudgetSet(amount=5000, warn_percent=80, low_balance=500),
    BillToSet(name="Ana Lopez Ltd", address="1 Main Street", country="DE", tax_number="DE123456789"),
    TaxRateCreate(country="DE", name="MwSt", percent=Decimal(19), valid_from=_MARCH.date()),
    CreditNoteCreate(reason="The phone did not run"),
    PlanChange(plan_id=_PLAN),
    QuotaSet(limit=10),
    Balance(user_id=_ANA, currency="USD", available=5000, held=0, updated_at=_NOON),
    DeviceUsage(
        device_id=_PHONE, period_start=_MARCH, period_end=datetime(2026, 4, 1, tzinfo=UTC), seconds=93_600, runs=4,
        open_since=None, last_run_at=_NOON,
    ),
    WarmupSchedule(cron="*/5 * * * *"),
)  # fmt: skip
