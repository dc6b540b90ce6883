"""From running time to exact charges: rules, the terms that devices are held under, cost so far, budgets, reports."""
