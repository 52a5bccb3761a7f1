"""Starts a Thornwall gateway before the site."""
