"""Room 4: versions, the one that answers, those that only see, and how one becomes the other."""
