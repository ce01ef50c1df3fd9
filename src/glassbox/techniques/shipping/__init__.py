"""What a function brings along, whether it may travel, and what it meets on the other side."""
