"""What the commands share: how they check a command line, and how they build the objects of a configuration."""
