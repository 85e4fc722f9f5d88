"""What real kernels did, and the recorder that asked them."""
