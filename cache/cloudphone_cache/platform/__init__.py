"""The cache in Cloudphone: its BFF apps and its worker, on the kit that all our processes stand on.

What lies above this package imports nothing of ours and can be used alone.
"""
