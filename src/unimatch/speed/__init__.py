"""The same numbers, cheaper: without these modules only the clock would change."""
