"""Measures what a request through Thornwall costs, beside other proxies on the same machine."""
