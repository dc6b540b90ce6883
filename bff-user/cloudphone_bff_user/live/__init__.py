"""Live events: what happens to a customer's own things, told over a WebSocket in the order it happened."""
