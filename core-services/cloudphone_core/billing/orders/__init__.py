"""Orders as a fold of their events, and the subscriptions that they begin."""
