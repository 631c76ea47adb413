"""Under construction in its own commit."""
