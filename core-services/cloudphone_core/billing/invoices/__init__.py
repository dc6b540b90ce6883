"""Invoices, credit notes, and what becomes of what is unpaid."""
