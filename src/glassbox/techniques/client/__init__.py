"""What a researcher holds in hand: the client, its runs and its sessions."""
