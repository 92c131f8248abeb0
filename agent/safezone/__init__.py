"""The one command, ``safezone``."""
