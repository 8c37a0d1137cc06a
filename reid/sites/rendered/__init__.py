"""People that never lived, rendered from bodies in three dimensions."""
