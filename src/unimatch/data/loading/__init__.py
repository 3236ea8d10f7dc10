"""Makes batches of samples: views, their order, labelled and unlabelled images side by side."""
