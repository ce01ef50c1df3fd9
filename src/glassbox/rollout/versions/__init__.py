"""What versions there are, which alias names which, and how one is brought to life."""
