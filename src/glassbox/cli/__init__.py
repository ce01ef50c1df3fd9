"""The command line: one file per command group; a command parses, makes one call and prints."""
