"""Chooses which images are labelled, which are not, and which are held out."""
