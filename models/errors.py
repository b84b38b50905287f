"""The two ways a command ends early."""


class InputError(Exception):
    """Something the user gave cannot be used; the message names it and the remedy (exit 2)."""


class VerificationError(Exception):
    """A claim of ours that does not hold: our bug, never the user's (exit 1). The message says what failed where."""
