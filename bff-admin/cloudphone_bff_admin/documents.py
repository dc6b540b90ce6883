"""How the BFF documents itself."""

from cloudphone_shared.http.operations import documentation

DOCUMENTS = documentation(
    "Cloudphone admin",
    "0.1.0",
    """The administrative console's interface. Views are composed from several services and cached; each says as of
when it is proven fresh (`X-Fresh-As-Of`) and whether every service answered (`X-View-Complete`). A write answers with
a `Fresh-After` token, as header and cookie: a read that brings it along shows nothing older. Refusals are problem
documents (RFC 9457) with a stable `code`.""",
    {
        "auth": "Signing in and out",
        "dashboard": "What there is and what runs",
        "devices": "Cloud phones: who has them, what is on them",
        "operations": "Long work on devices: how far it is, and what came of it",
        "snapshots": "Copies of what is on devices",
        "allocations": "Who was given which device, who waits for one, and why",
        "users": "Accounts, and everything about one on one screen",
        "orders": "Orders and their history",
        "subscriptions": "What orders give for a time, and how that goes on or ends",
        "plans": "What can be ordered, in versions, and coupons",
        "payments": "By wallet or card: refunds, disputes, what providers told, and how their books agree with ours",
        "invoices": "Invoices and credit notes, down to runs and their events; taxes and terms",
        "rules": "What running time costs",
        "wallets": "What users have with us, and what is adjusted by hand",
        "ledger": "Transfers between accounts, which add up to zero",
        "sagas": "Purchases on their way",
        "quotas": "How much users may have",
        "reports": "Figures for charts",
        "apps": "The catalogue and its versions",
        "uploads": "APKs on their way into the store, by the tus protocol",
        "installations": "Apps on devices",
        "nodes": "Where devices run",
        "templates": "What devices are made from",
        "tenants": "Whose everything is",
        "usage": "Running time, its cost and its limit",
        "reconciliation": "How containers and rows agree",
        "dead-letters": "Events that nobody could take in",
        "cache": "Hit rates, feeds, one view's entry and the verdict on it",
        "warmups": "Views composed ahead of their readers",
    },
)
