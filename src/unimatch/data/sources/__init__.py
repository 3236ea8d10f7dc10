"""Reads one sample from files or arrays: an image or the two dates of a pair, with a mask or a class."""
