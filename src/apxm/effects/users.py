"""Whose code it is: the user's own, or that of Python, of this package, or of an installed one."""

from __future__ import annotations

import os
import sys
from functools import lru_cache


def is_users_class(made: type) -> bool:
    """Whether a class is the user's own."""
    module = sys.modules.get(made.__module__)
    file = getattr(module, "__file__", None)
    if made.__module__ in ("builtins", "__main__") or file is None:
        return made.__module__ != "builtins" and made.__module__ not in sys.builtin_module_names
    return is_users(file)


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether code in a file is the user's own, and not that of Python or of an installed package."""
    if file.startswith("<frozen") or file.endswith(".pyx") or "site-packages" in file or "dist-packages" in file:
        return False
    return not os.path.abspath(file).startswith(_OTHERS)


OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""The folder of this package."""
_OTHERS = (os.path.dirname(os.path.abspath(os.__file__)) + os.sep, OURS)
