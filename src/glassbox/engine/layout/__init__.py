"""How tokens of many texts are laid out for one pass, and attention over them."""
