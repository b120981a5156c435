"""Which form of a scan runs where and why, in words and for tensors: above the recurrence's algebra and the kernels, which know nothing of it."""
