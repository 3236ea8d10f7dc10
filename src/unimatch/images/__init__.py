"""Image files: which are read, their bands and class ids as arrays, tensors, and pictures drawn of them."""
