"""How the BFF documents itself."""

from cloudphone_shared.http.operations import documentation

DOCUMENTS = documentation(
    "Cloudphone portal",
    "0.1.0",
    """The customer portal's interface: a caller's own things, and nothing else. Views are composed from several
services and cached; each says as of when it is proven fresh (`X-Fresh-As-Of`) and whether every service answered
(`X-View-Complete`). A write answers with a `Fresh-After` token, as header and cookie: a read that brings it along
shows nothing older. Refusals are problem documents (RFC 9457) with a stable `code`.""",
    {
        "auth": "Accounts, signing in and out",
        "home": "The first screen",
        "devices": "The caller's cloud phones",
        "phone": "What is on a phone: its screen, its controls, its files",
        "store": "Apps, what others think of them, and how they come onto a phone",
        "sharing": "Devices shared with others, and by others",
        "orders": "Plans, and the caller's orders and subscriptions",
        "money": "The caller's wallet: what it holds, what moved, how it is filled",
        "invoices": "The caller's invoices, down to the runs that they add up from",
        "usage": "The caller's running time, what it costs, and the limit set for that",
        "profile": "The caller's account",
    },
)
