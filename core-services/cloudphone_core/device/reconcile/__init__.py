"""Containers and volumes held against rows, both ways: what does not agree is repaired, and told in a report."""
