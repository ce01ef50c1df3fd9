"""The resident model as tools for agents."""
