"""Search: every spec is a space. Spaces, drivers, evaluation, studies, reports."""
