"""The rendered world: people that never lived, before cameras that never hung."""
