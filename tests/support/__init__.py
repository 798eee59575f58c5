"""Servers and builders that several tests use."""
