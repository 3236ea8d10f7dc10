"""Configuration files of the commands."""
