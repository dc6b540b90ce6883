"""The table of contents, in URL order, and the views that the cache keeps."""

from typing import Any

from litestar.types import ControllerRouterHandler

from cloudphone_cache import View
from cloudphone_shared.http.sign_in import SIGN_IN

from .actions.cancel_order import cancel_my_order
from .actions.change_device import change_my_device
from .actions.change_password import change_password
from .actions.change_profile import change_profile
from .actions.command_device import DEVICE_COMMANDS
from .actions.create_order import create_my_order
from .actions.create_snapshot import create_my_snapshot
from .actions.delete_review import delete_my_review
from .actions.direct_subscription import SUBSCRIBING
from .actions.install_app import install_my_app
from .actions.mirror_input import mirror_input
from .actions.pay_invoice import pay_my_invoice
from .actions.put_file import put_my_file
from .actions.recharge import recharge
from .actions.register import register
from .actions.remove_app import remove_my_app
from .actions.restore_snapshot import restore_my_snapshot
from .actions.revoke_grant import revoke_grant
from .actions.send_input import send_input
from .actions.set_bill_to import set_my_bill_to
from .actions.set_budget import set_my_budget
from .actions.share_device import share_device
from .actions.write_review import write_review
from .live.route import my_events
from .views.my_balance import my_balance, show_my_balance
from .views.my_bill_to import show_my_bill_to, show_my_budget
from .views.my_device import my_device, show_my_device
from .views.my_devices import list_my_devices, my_device_card
from .views.my_files import list_my_files, show_my_file
from .views.my_grants import list_my_grants
from .views.my_home import my_home, show_my_home
from .views.my_invoice import my_invoice, show_my_invoice
from .views.my_invoices import INVOICES
from .views.my_operations import list_my_operations, show_my_operation
from .views.my_order import my_order, show_my_order
from .views.my_orders import list_my_orders, my_order_card
from .views.my_payments import PAYMENTS
from .views.my_phone import show_my_screenshot, show_my_vitals
from .views.my_profile import my_profile, show_my_profile
from .views.my_shared_devices import list_shared_devices, my_shared_device, show_shared_device
from .views.my_snapshots import list_my_snapshots
from .views.my_subscriptions import SUBSCRIPTIONS
from .views.my_transactions import TRANSACTIONS
from .views.my_usage import my_usage, show_my_usage
from .views.plans import check_coupon, list_plans
from .views.store import STORE

VIEWS: list[View[Any]] = [
    my_balance,
    my_device,
    my_device_card,
    my_home,
    my_invoice,
    my_order,
    my_order_card,
    my_profile,
    my_shared_device,
    my_usage,
]

HANDLERS: list[ControllerRouterHandler] = [
    *SIGN_IN, register,
    *STORE, write_review, delete_my_review,
    list_my_devices, show_my_device, change_my_device,
    *DEVICE_COMMANDS, list_my_operations, show_my_operation,
    list_my_snapshots, create_my_snapshot, restore_my_snapshot,
    show_my_screenshot, show_my_vitals, send_input, mirror_input, list_my_files, show_my_file, put_my_file,
    install_my_app, remove_my_app,
    list_my_grants, share_device, revoke_grant, list_shared_devices, show_shared_device,
    show_my_balance, *TRANSACTIONS, recharge, *PAYMENTS,
    show_my_bill_to, set_my_bill_to, show_my_budget, set_my_budget,
    show_my_home,
    my_events,
    *INVOICES, show_my_invoice, pay_my_invoice,
    list_my_orders, create_my_order, show_my_order, cancel_my_order,
    *SUBSCRIPTIONS, *SUBSCRIBING,
    change_password,
    show_my_profile, change_profile,
    show_my_usage,
    list_plans, check_coupon,
]  # fmt: skip
