"""Whether what the cache serves as fresh is fresh: a laboratory, faults in it, writers, probes and a verdict."""
