"""Trained weights -> masks."""
