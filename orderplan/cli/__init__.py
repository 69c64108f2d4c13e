"""The `orderplan` command."""
