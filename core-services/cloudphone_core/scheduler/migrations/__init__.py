"""The scheduler's schema, step by step."""
