"""What is measured beside its limits, one subject a file."""
