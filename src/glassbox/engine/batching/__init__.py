"""The running batch: requests that join and leave at every step."""
