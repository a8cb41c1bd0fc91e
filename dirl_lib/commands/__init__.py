"""The commands of `dirl`, one module a topic."""
