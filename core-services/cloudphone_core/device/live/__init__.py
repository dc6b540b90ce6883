"""Phones as they are now: looked after by the worker, seen and used through the HTTP process."""
