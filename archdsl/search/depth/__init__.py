"""Depth search: the layers of a built stack skipped, looped and reordered, and the order that serves best. No weight is changed."""
