"""The table of contents, in URL order, and the views that the cache keeps."""

from typing import Any

from litestar.types import ControllerRouterHandler

from cloudphone_cache import View
from cloudphone_shared.http.sign_in import SIGN_IN

from .actions.add_app_version import add_app_version
from .actions.adjust_wallet import ADJUSTING
from .actions.allocate_device import allocate_device
from .actions.assign_device import assign_device
from .actions.begin_arrears import begin_arrears
from .actions.cancel_allocation_request import cancel_allocation_request
from .actions.cancel_operation import cancel_operation
from .actions.cancel_order import cancel_order
from .actions.change_app import change_app
from .actions.change_device import change_device
from .actions.change_installation import change_installation
from .actions.change_node import change_node
from .actions.change_plan import change_plan
from .actions.change_scheduler_settings import change_scheduler_settings
from .actions.change_template import change_template
from .actions.change_user import change_user
from .actions.command_device import DEVICE_COMMANDS
from .actions.command_devices import command_devices
from .actions.confirm_allocation import confirm_allocation
from .actions.create_app import create_app
from .actions.create_device import create_device
from .actions.create_node import create_node
from .actions.create_order import create_order
from .actions.create_plan import create_plan
from .actions.create_snapshot import create_snapshot
from .actions.create_template import create_template
from .actions.create_tenant import create_tenant
from .actions.create_user import create_user
from .actions.delete_app import delete_app
from .actions.delete_device import delete_device
from .actions.delete_installation import delete_installation
from .actions.delete_node import delete_node
from .actions.delete_plan import delete_plan
from .actions.delete_review import delete_review
from .actions.delete_snapshot import delete_snapshot
from .actions.delete_template import delete_template
from .actions.delete_user import delete_user
from .actions.direct_installation import DIRECTING
from .actions.direct_invoices import INVOICING
from .actions.direct_sagas import SAGA_DIRECTING
from .actions.direct_subscription import SUBSCRIBING
from .actions.drop_view import drop_view
from .actions.edit_coupons import COUPON_EDITING
from .actions.edit_rules import RULE_EDITING
from .actions.edit_taxes import TAX_EDITING
from .actions.end_arrears import end_arrears
from .actions.install_app import install_app
from .actions.install_on_many import install_on_many
from .actions.pause_warmups import pause_warmups
from .actions.publish_app import PUBLISHING
from .actions.publish_upload import publish_upload
from .actions.reconcile import reconcile
from .actions.reconcile_payments import reconcile_payments
from .actions.record_usage import record_usage
from .actions.refund import refund_order, refund_payment
from .actions.reinstate_user import reinstate_user
from .actions.release_allocation import release_allocation
from .actions.renew_allocation import renew_allocation
from .actions.replay_dead_letters import replay_dead_letters
from .actions.reschedule_warmups import reschedule_warmups
from .actions.restore_snapshot import restore_snapshot
from .actions.resume_warmups import resume_warmups
from .actions.revise_plan import revise_plan
from .actions.run_warmup import run_warmup
from .actions.send_upload import UPLOADING
from .actions.set_quota import QUOTA_SETTING
from .actions.set_user_terms import USER_TERMS
from .actions.simulate_placement import simulate_placement
from .actions.suspend_user import suspend_user
from .actions.unassign_device import unassign_device
from .views.allocations import (
    explain_allocation_request,
    list_allocation_requests,
    list_allocations,
    show_allocation,
    show_allocation_request,
)
from .views.app_icon import show_app_icon
from .views.apps import list_app_versions, list_apps, show_app
from .views.billing_rules import RULES
from .views.cache_processes import list_hottest, list_layers, list_misses, show_processes
from .views.cache_showing import list_showing
from .views.cache_state import explain_view, show_cache, show_feed
from .views.coupons import COUPONS
from .views.dashboard import dashboard, show_dashboard
from .views.dead_letters import list_dead_letters
from .views.device_full import device_full, show_device
from .views.device_history import list_device_applications, show_device_history
from .views.device_holder import device_holder, show_device_holder
from .views.device_list import device_card, list_devices
from .views.fleet import list_nodes, list_templates
from .views.grants import list_grants
from .views.installations import list_installations, show_installation
from .views.invoice_full import invoice_full, show_invoice
from .views.invoices import INVOICES
from .views.ledger import LEDGER
from .views.operations import list_device_operations, list_operations, show_operation
from .views.order_full import order_full, show_order
from .views.order_list import list_orders, order_card
from .views.payment_reconciliations import RECONCILIATIONS
from .views.payments import PAYMENTS
from .views.phone import show_screenshot, show_vitals
from .views.plans import list_plan_revisions, list_plans, show_plan
from .views.quotas import QUOTAS
from .views.reconciliation import list_reconcile_reports, show_reconcile_report
from .views.reports import REPORTS
from .views.reviews import list_reviews
from .views.sagas import SAGAS
from .views.scheduling import list_scheduler_nodes, show_scheduler_settings
from .views.snapshots import list_snapshots
from .views.subscriptions import SUBSCRIPTIONS
from .views.taxes import list_tax_rates, show_invoice_terms
from .views.tenants import list_tenants
from .views.uploads import show_upload
from .views.user_cost import COSTS
from .views.user_full import show_user, user_full
from .views.user_list import list_users
from .views.user_usage import list_usage_days
from .views.user_usage_full import show_user_usage, user_usage_full
from .views.wallets import WALLETS
from .views.warmups import list_warmup_runs, show_warmup_run, show_warmups

VIEWS: list[View[Any]] = [
    dashboard,
    device_card,
    device_full,
    device_holder,
    invoice_full,
    order_card,
    order_full,
    user_full,
    user_usage_full,
]

HANDLERS: list[ControllerRouterHandler] = [
    *SIGN_IN,
    list_allocations, allocate_device, show_allocation, release_allocation, confirm_allocation, renew_allocation,
    list_allocation_requests, show_allocation_request, explain_allocation_request, cancel_allocation_request,
    list_apps, create_app, show_app, change_app, delete_app, list_app_versions, add_app_version,
    *PUBLISHING, show_app_icon, list_reviews, delete_review,
    *RULES, *RULE_EDITING,
    show_cache, show_feed, list_hottest, list_layers, list_misses, show_processes, list_showing,
    explain_view, drop_view,
    *COUPONS, *COUPON_EDITING,
    show_dashboard,
    list_dead_letters, replay_dead_letters,
    list_devices, create_device, show_device, change_device, delete_device,
    list_device_applications, assign_device, show_device_history, unassign_device,
    show_device_holder,
    *DEVICE_COMMANDS, command_devices, show_screenshot, show_vitals, list_grants,
    list_snapshots, create_snapshot, restore_snapshot, delete_snapshot,
    list_installations, install_app, install_on_many, show_installation, change_installation, delete_installation,
    *DIRECTING,
    *INVOICES, show_invoice, *INVOICING,
    *LEDGER,
    list_nodes, create_node, change_node, delete_node,
    list_operations, show_operation, cancel_operation, list_device_operations,
    list_orders, create_order, show_order, cancel_order, refund_order,
    *PAYMENTS, refund_payment, *RECONCILIATIONS, reconcile_payments,
    simulate_placement,
    list_plans, create_plan, show_plan, change_plan, delete_plan, list_plan_revisions, revise_plan,
    *QUOTAS, *QUOTA_SETTING,
    *REPORTS,
    *SAGAS, *SAGA_DIRECTING,
    list_scheduler_nodes, show_scheduler_settings, change_scheduler_settings,
    list_templates, create_template, change_template, delete_template,
    *SUBSCRIPTIONS, *SUBSCRIBING,
    list_tax_rates, show_invoice_terms, *TAX_EDITING,
    list_tenants, create_tenant,
    list_reconcile_reports, show_reconcile_report, reconcile,
    *UPLOADING, show_upload, publish_upload,
    record_usage,
    list_users, create_user, show_user, change_user, delete_user,
    reinstate_user, suspend_user, show_user_usage, list_usage_days,
    begin_arrears, end_arrears,
    *WALLETS, *ADJUSTING, *COSTS, *USER_TERMS,
    show_warmups, pause_warmups, resume_warmups, list_warmup_runs, run_warmup, show_warmup_run, reschedule_warmups,
]  # fmt: skip
