"""The data sets: one file per layout or format, each with a function that gives a SegmentationData."""
