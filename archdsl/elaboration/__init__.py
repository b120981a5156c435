"""A loaded file -> a checked graph: names, kinds, calls, shapes, repeats and scans, decided once per distinct use."""
