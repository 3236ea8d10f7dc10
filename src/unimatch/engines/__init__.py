"""Turns images into scores: whole or in windows, at several scales, by PyTorch or by an exported file."""
