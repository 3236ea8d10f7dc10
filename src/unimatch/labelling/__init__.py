"""Label tools: what they export read into one form, and that form written for training or for a tool to correct."""

from unimatch.labelling.formats import FORMATS, TOOLS, read, write
from unimatch.labelling.predictions import predicted_labels
from unimatch.labelling.records import LabelledImage, Labels, Region, Regions

__all__ = ["FORMATS", "TOOLS", "LabelledImage", "Labels", "Region", "Regions", "predicted_labels", "read", "write"]
