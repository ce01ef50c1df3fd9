"""Files of sparse autoencoders, one module a format, and the tensors in them."""
