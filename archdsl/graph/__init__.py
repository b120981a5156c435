"""The graph: sizes, expressions, regions of operations, and what is computed from them without building anything."""
