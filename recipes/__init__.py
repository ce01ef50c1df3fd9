"""How the artefacts that ship with Glassbox were made; nothing here is needed to use it."""
