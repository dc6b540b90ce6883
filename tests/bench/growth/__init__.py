"""How cost grows: views kept in Redis, changes a second, dependencies of a view, BFF processes. A table each."""
