"""Double entry: accounts, transfers, entries, and what is read from them."""
