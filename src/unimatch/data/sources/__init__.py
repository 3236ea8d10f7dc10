"""One sample: an image, two dates or an image of one class, with its label, out of files or arrays."""
