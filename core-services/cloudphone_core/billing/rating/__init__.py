"""From running time to exact charges."""
