"""Kernels: emitters for C, the build and its cache, and the wrappers that fall back to plain torch."""
