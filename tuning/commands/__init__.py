"""Layer 4: the commands of the command line, a module each."""
