"""Device's schema, step by step."""
