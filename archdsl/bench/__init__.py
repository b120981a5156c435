"""Measuring scans: each form of a recurrence against the plain loop over its step."""
