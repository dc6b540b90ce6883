"""HTTP on both sides: the app every process is, and the client every process asks others with."""
