# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("BackgroundError", "UserError")


class UserError(Exception):
    """Something that the user can put right.

    The message is one line that says what is wrong, and where. The command
    line prints it without a traceback.
    """


class BackgroundError(Exception):
    """A background cannot be read, written or evaluated.

    The message is one line that names the file or layer, the HDU where there
    is one, and the fault.
    """
