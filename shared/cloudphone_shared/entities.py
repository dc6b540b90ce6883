"""The only place where an entity is spelled.

An entity is what a version is kept for: a row (`device:<id>`) or a collection (`installations:<deviceId>`).
Its owner announces every change of it; a view that shows it depends on it.
"""

from uuid import UUID


def _spell(kind: str, key: UUID | str) -> str:
    return f"{kind}:{key}"


def user(user_id: UUID | str) -> str:
    return _spell("user", user_id)


def sessions(user_id: UUID | str) -> str:
    """What an access token of this user hangs on: raised by a logout, a suspension, a new password or role."""
    return _spell("sessions", user_id)


def users_of(tenant_id: UUID | str) -> str:
    """Which users a tenant has."""
    return _spell("users-of", tenant_id)


def tenant(tenant_id: UUID | str) -> str:
    return _spell("tenant", tenant_id)


def tenants() -> str:
    """Which tenants there are."""
    return _spell("tenants", "all")


def device(device_id: UUID | str) -> str:
    return _spell("device", device_id)


def devices_of(user_id: UUID | str) -> str:
    """Which devices a user holds (not what they look like)."""
    return _spell("devices-of", user_id)


def grants(device_id: UUID | str) -> str:
    """Who was given leave to see or control a device of another."""
    return _spell("grants", device_id)


def grants_of(user_id: UUID | str) -> str:
    """Which devices of others a user was given leave to see or control."""
    return _spell("grants-of", user_id)


def operations(device_id: UUID | str) -> str:
    """The long works on a device, and each one's state."""
    return _spell("operations", device_id)


def snapshots(device_id: UUID | str) -> str:
    """The snapshots of a device, and each one's state."""
    return _spell("snapshots", device_id)


def node(node_id: UUID | str) -> str:
    return _spell("node", node_id)


def template(template_id: UUID | str) -> str:
    return _spell("template", template_id)


def nodes() -> str:
    """Which nodes there are, and whatever a list of them is filtered or sorted by."""
    return _spell("nodes", "all")


def templates() -> str:
    """Which templates there are, and whatever a list of them is filtered or sorted by."""
    return _spell("templates", "all")


def app(app_id: UUID | str) -> str:
    return _spell("app", app_id)


def installations(device_id: UUID | str) -> str:
    """Which installations a device has, and each one's state."""
    return _spell("installations", device_id)


def plans() -> str:
    """Which plans there are, and whatever a list of them is filtered or sorted by."""
    return _spell("plans", "all")


def plan(plan_id: UUID | str) -> str:
    return _spell("plan", plan_id)


def order(order_id: UUID | str) -> str:
    return _spell("order", order_id)


def orders_of(user_id: UUID | str) -> str:
    """Which orders a user has (not what they look like)."""
    return _spell("orders-of", user_id)


def usage(device_id: UUID | str) -> str:
    """The usage records of a device."""
    return _spell("usage", device_id)


def usage_of(user_id: UUID | str) -> str:
    """Which devices have usage records of a user (not what those say)."""
    return _spell("usage-of", user_id)


def balance(user_id: UUID | str) -> str:
    return _spell("balance", user_id)


def arrears(user_id: UUID | str) -> str:
    """Whether a user owes, and why."""
    return _spell("arrears", user_id)


def coupon(coupon_id: UUID | str) -> str:
    return _spell("coupon", coupon_id)


def coupons() -> str:
    """Which coupons there are, and whatever a list of them is filtered or sorted by."""
    return _spell("coupons", "all")


def payment(payment_id: UUID | str) -> str:
    return _spell("payment", payment_id)


def payments_of(user_id: UUID | str) -> str:
    """Which payments a user has, and each one's state."""
    return _spell("payments-of", user_id)


def invoice(invoice_id: UUID | str) -> str:
    return _spell("invoice", invoice_id)


def invoices_of(user_id: UUID | str) -> str:
    """Which invoices a user has, and each one's state."""
    return _spell("invoices-of", user_id)


def bill_to(user_id: UUID | str) -> str:
    """To whom a user's invoices go."""
    return _spell("bill-to", user_id)


def rule(rule_id: UUID | str) -> str:
    return _spell("rule", rule_id)


def rules() -> str:
    """Which billing rules there are, and whatever a list of them is filtered or sorted by."""
    return _spell("rules", "all")


def cost_of(user_id: UUID | str) -> str:
    """What a user's usage was rated at, and the budget for it."""
    return _spell("cost-of", user_id)


def quotas(user_id: UUID | str) -> str:
    """How much a user may have, and how much of it is used."""
    return _spell("quotas", user_id)
