"""The commands of `cloudphone`, one file per group."""
