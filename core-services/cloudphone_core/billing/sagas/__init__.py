"""Work of many steps that is finished or undone, whoever dies meanwhile."""
