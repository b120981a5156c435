"""What a spec may not exceed. Checked while tokens are made, before any tree exists, so that hostile input costs little."""

from __future__ import annotations

MAX_FILE_BYTES = 256 * 1024
MAX_TOKENS = 50_000
MAX_NESTING = 64
MAX_HEIGHT = 160  # operators, branches and brackets stacked within one expression: what later phases may recurse through
MAX_FLAT = 1_000  # stages of one pipe, options of one choice
MAX_NAME = 64
MAX_DIGITS = 18
MAX_INT = 2**53
