"""Samples -> batches: views, order, labelled and unlabelled images side by side."""
