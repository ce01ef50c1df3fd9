"""Your own function beside the resident model: shipped, run, and everything it touched put back."""
