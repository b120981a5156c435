"""Plain torch functions and classes that structural nodes call; copied into emitted files like primitives/support."""
