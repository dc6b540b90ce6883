"""Wallet and card behind one port; webhooks, refunds, disputes, reconciliation."""
