"""The phone's shell: its language, how it runs, and what commands are given."""
