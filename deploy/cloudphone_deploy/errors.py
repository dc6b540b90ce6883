"""What a command answers when it cannot do as asked."""


class CommandError(Exception):
    """One sentence for the person at the terminal: what is in the way and what to do about it."""
