"""The history of the app service's schema."""
