"""Computes the same numbers with less time or memory: without these modules nothing else would change."""
