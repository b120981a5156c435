"""What emitted modules call: plain torch functions, each readable and complete in itself, copied as text into emitted files."""
