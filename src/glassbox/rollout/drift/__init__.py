"""What comes now compared with what came before: references, windows, reports, and the watch."""
