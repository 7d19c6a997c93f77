"""Strict models of what requests may hold: bounded, typed, unknown fields refused (DESIGN 11)."""
