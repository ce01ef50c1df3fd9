"""Values taken apart into JSON and the bytes of tensors, put together again, shown in parts."""
