"""Person re-identification across camera domains."""

__version__ = "0.1.0"
