"""Chores that `make` runs."""
