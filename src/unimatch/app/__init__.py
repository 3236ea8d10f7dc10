"""Shows the predictions of a trained model on a page of this machine: ``python -m unimatch.app checkpoint=...``."""
