"""The data sets: one file for each layout or format, with a function that returns a SegmentationData."""
