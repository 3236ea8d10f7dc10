"""A local page that shows what a trained model sees in an image: ``python -m unimatch.app checkpoint=...``."""
