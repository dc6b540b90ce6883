"""The life of a device: what is asked of it, the work that does it, and what happens by itself."""
