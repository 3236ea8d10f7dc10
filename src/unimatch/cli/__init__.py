"""What the commands share: what stands on a command line, and how its configuration becomes objects."""
