"""What is known of functions that the user did not write: which only compute or only look, and which change something.

Whatever is not known here may do anything, and waits for its turn.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import dataclasses
import functools
import io
import random
import types
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, cast

from apxm.effects.sdk_methods import asks, is_client, only_looks
from apxm.effects.users import is_users, is_users_class
from apxm.kept import cached_weakly


class Known(Enum):
    """What a call of a function can do to what is there already."""

    NOTHING = auto()
    """It computes, or looks at something."""
    ITS_FIRST = auto()
    """It changes its first argument, and nothing else."""
    ITS_OWN = auto()
    """It is a method that changes what it belongs to, and nothing else."""
    DRAWS = auto()
    """It takes from a sequence that all share, such as random numbers: who comes first gets the first."""
    LOOKS_OUTSIDE = auto()
    """It looks at files: behind a call that is at the turn, as an iteration before may have written them."""
    ASKS = auto()
    """It asks a model, by an SDK of others: what it gives is new, and nothing else changes."""
    CALLS_BACK = auto()
    """It does nothing but call functions that it is given."""
    REDIRECTS = auto()
    """It puts its first argument in the place of a standard stream, for the length of a `with`."""


_LOOKING = frozenset(
    {
        "_ast", "ast", "_bisect", "_collections", "_csv", "_datetime", "_decimal", "_functools", "_heapq",
        "_json", "_operator",
        "_random", "_sre", "_statistics", "_string", "_struct", "base64", "binascii", "bisect", "calendar", "cmath",
        "collections", "collections.abc", "colorsys", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib",
        "enum", "fnmatch", "fractions", "genericpath", "glob", "hashlib", "_hashlib", "_blake2", "_md5", "_sha1",
        "_sha2", "_sha256", "_sha512", "_sha3", "heapq", "hmac", "html", "html.entities", "inspect", "itertools",
        "json", "json.decoder", "json.encoder", "keyword", "math", "msgspec", "msgspec._core", "msgspec.json",
        "numbers", "ntpath", "operator", "posixpath", "pprint", "re", "regex", "shlex", "statistics", "string",
        "struct", "textwrap", "time", "types", "typing", "typing_extensions", "unicodedata", "urllib.parse", "uuid",
        "zlib", "zoneinfo",
    }
)  # fmt: skip
"""Modules whose functions and classes compute, or look at what is there, but for those named below."""
HARMLESS = _LOOKING | frozenset(
    {
        "builtins", "contextlib", "contextvars", "functools", "io", "logging", "os", "os.path", "pathlib", "random",
        "sys", "tempfile", "urllib",
    }
)  # fmt: skip
"""Modules that may be loaded only to see what is in them: nothing happens by it."""
_FIRST = frozenset(
    {
        "bisect.insort", "bisect.insort_left", "bisect.insort_right", "_bisect.insort_left", "_bisect.insort_right",
        "builtins.delattr", "builtins.next", "builtins.setattr", "_heapq.heapify", "_heapq.heappop", "_heapq.heappush",
        "_heapq.heappushpop", "_heapq.heapreplace", "_operator.delitem", "_operator.iadd", "_operator.setitem",
    }
)  # fmt: skip
_CHANGING = frozenset(
    {
        "_csv.writer", "csv.DictWriter", "csv.register_dialect", "_csv.field_size_limit", "json.dump", "time.sleep",
        "logging.addLevelName", "logging.basicConfig", "logging.disable", "logging.shutdown",
        "pprint.pprint", "pprint.pp", "builtins.breakpoint", "builtins.compile", "builtins.eval", "builtins.exec",
        "builtins.exit", "builtins.input", "builtins.open", "builtins.quit", "builtins.__import__", "builtins.vars",
        "builtins.locals", "builtins.globals", "inspect.stack", "_functools.partial", "operator.call",
        "_operator.call",
    }
)  # fmt: skip
"""Functions of those modules, and of Python itself, of which that is not so."""
_ASIDE = frozenset({"_contextvars", "contextvars", "logging", "opentelemetry"})
"""Packages whose objects have no order between iterations: contexts are a lane's own, and logs and traces are as it
comes."""
_CALLS_BACK = (map, filter, sorted, min, max, functools.reduce)
_LOOKING_OF_OS = frozenset({"getcwd", "getenv", "getpid", "cpu_count", "fspath", "get_terminal_size"})
_AT_FILES = frozenset(
    {
        "access", "exists", "getatime", "getctime", "getmtime", "getsize", "glob", "glob0", "glob1", "iglob", "isdir",
        "isfile", "islink", "ismount", "lexists", "listdir", "lstat", "readlink", "realpath", "samefile", "scandir",
        "stat", "walk",
    }
)  # fmt: skip
"""Functions of modules about files that look at what is there; others of them compute with names."""
_OF_FILES = frozenset({"genericpath", "glob", "nt", "ntpath", "os", "posix", "posixpath"})

IMMUTABLE = (str, bytes, int, float, complex, bool, tuple, frozenset, range, type(None))
_READERS: dict[type, frozenset[str]] = {
    list: frozenset({"copy", "count", "index"}),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    set: frozenset(
        {"copy", "difference", "intersection", "isdisjoint", "issubset", "issuperset", "symmetric_difference", "union"}
    ),
    collections.deque: frozenset({"copy", "count", "index"}),
    collections.Counter: frozenset({"copy", "get", "items", "keys", "values", "most_common", "elements", "total"}),
    collections.defaultdict: frozenset({"copy", "get", "items", "keys", "values"}),
    collections.OrderedDict: frozenset({"copy", "get", "items", "keys", "values"}),
}
CONTAINERS = tuple(_READERS)
MADE_NEW = (*CONTAINERS, io.BytesIO, io.StringIO)
"""Classes whose objects are new each time that they are called, and hold nothing that others could change."""
_REDIRECTS = (contextlib.redirect_stderr, contextlib.redirect_stdout)
ONLY_ADDS = frozenset({"add", "append", "appendleft", "extend", "insert", "update", "write", "writelines"})
"""Methods of containers and files that add to them, and of which nobody needs the result."""
TEXT_METHODS = frozenset(dir(str)) | frozenset(
    {"items", "keys", "values", "get", "copy", "total_seconds", "isoformat", "group", "groups", "groupdict", "span"}
)
"""Methods that, by their names, only look: nobody expects one of them to call a model."""


def known(function: Any) -> Known | None:
    """What is known of a function, a class, or a bound method of something that is not the user's; None for nothing."""
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if (
        owner is not None
        and not isinstance(owner, types.ModuleType | type)
        and isinstance(function, types.BuiltinMethodType | types.MethodWrapperType)
    ):
        return _known_method(function, owner, name)
    if asks(function):
        return Known.ASKS
    if isinstance(function, types.MethodType):
        return Known.NOTHING if only_looks(function) else _known_python_method(function)
    if any(function is each for each in _CALLS_BACK):
        return Known.CALLS_BACK
    if any(function is each for each in _REDIRECTS):
        return Known.REDIRECTS
    if function is io.StringIO or function is io.BytesIO:
        return Known.NOTHING
    module = getattr(function, "__module__", None) or ""
    full = f"{module}.{name}"
    if full in _FIRST:
        return Known.ITS_FIRST
    if full in _CHANGING:
        return None
    package = module.partition(".")[0]
    if module in _OF_FILES and name in _AT_FILES:
        return Known.LOOKS_OUTSIDE
    if (
        module == "builtins"
        or module in _LOOKING
        or package in _ASIDE
        or (module in ("posix", "nt", "os") and name in _LOOKING_OF_OS)
    ):
        return Known.NOTHING
    if module.startswith("apxm."):
        return Known.NOTHING  # the functions of this package see to their lanes themselves
    if isinstance(function, type) and issubclass(function, BaseException | Enum):
        return Known.NOTHING
    if isinstance(function, type) and is_client(cast("type[object]", function)):
        return Known.NOTHING
    return None


def _known_method(method: object, owner: object, name: str) -> Known | None:
    if isinstance(owner, random.Random):
        return Known.DRAWS
    kind = type(owner)
    if kind in IMMUTABLE or _is_aside(kind):
        return Known.NOTHING
    if name == "__init__" and begins_only(method):
        return Known.ITS_OWN
    if kind in _READERS:
        return Known.NOTHING if name in _READERS[kind] else Known.ITS_OWN
    if kind.__module__ in _LOOKING or kind.__module__ == "builtins":
        return Known.NOTHING if is_frozen(kind) else Known.ITS_OWN
    return Known.ITS_OWN if kind.__module__ in ("_io", "io") else None


def begins_only(method: object) -> bool:
    """Whether it is the `__init__` of a class that Python has without a module, of which others are derived."""
    made = getattr(method, "__objclass__", None)
    return isinstance(made, type) and made.__module__ == "builtins"


def _known_python_method(function: types.MethodType) -> Known | None:
    owner = function.__self__
    if isinstance(owner, random.Random):
        return Known.DRAWS
    kind = owner if isinstance(owner, type) else type(owner)
    if _is_aside(kind):
        return Known.NOTHING
    if kind in _REDIRECTS:
        return Known.NOTHING  # which its lane alone sees
    if kind in _READERS:
        return Known.NOTHING if function.__name__ in _READERS[kind] else Known.ITS_OWN
    if kind.__module__ in _LOOKING:
        return Known.NOTHING if isinstance(owner, type) or is_frozen(kind) else Known.ITS_OWN
    if kind.__module__ in ("pathlib", "pathlib._local"):
        if function.__name__ in _LOOKING_AT_FILES:
            return Known.LOOKS_OUTSIDE
        return Known.NOTHING if function.__name__ in _LOOKING_OF_PATH else None
    return None


_LOOKING_OF_PATH = frozenset(
    {
        "as_posix", "as_uri", "is_absolute", "is_relative_to", "joinpath", "match", "relative_to", "with_name",
        "with_stem", "with_suffix",
    }
)  # fmt: skip
_LOOKING_AT_FILES = frozenset(
    {
        "absolute", "cwd", "exists", "expanduser", "glob", "home", "is_dir", "is_file", "is_symlink", "iterdir",
        "read_bytes", "read_text", "resolve", "rglob", "samefile", "stat",
    }
)  # fmt: skip
_FROZEN_TYPES = frozenset(
    {
        "Pattern", "Match", "datetime", "date", "time", "timedelta", "Decimal", "Fraction", "UUID", "Encoder",
        "Decoder", "JSONDecoder", "JSONEncoder",
    }
)  # fmt: skip


def is_frozen(kind: type) -> bool:
    """Whether objects of a class that is not the user's never change."""
    return kind in IMMUTABLE or kind.__name__ in _FROZEN_TYPES or _is_aside(kind)


def _is_aside(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _ASIDE


@cached_weakly
def only_keeps(made: type[object]) -> bool:
    """Whether making an object of a class does nothing but keep what it is given."""
    if hasattr(made, "__post_init__") or "model_post_init" in vars(made) or _finds_its_own(made):
        return False
    kept = any(hasattr(made, name) for name in ("__dataclass_fields__", "__struct_fields__", "model_fields", "_fields"))
    if kept:
        return all(map(_only_makes, _factories(made)))
    if issubclass(made, BaseException):  # each of which has an `__init__`
        return not any("__init__" in vars(each) for each in made.__mro__ if each.__module__ != "builtins")
    return issubclass(made, Enum) or "__init__" not in _methods(made)


def _finds_its_own(made: type[object]) -> bool:
    """Whether code of the user's says which object a call of a class gives, as that of a singleton does."""
    found = (made.__new__, type(made).__call__)
    files = {each.__code__.co_filename for each in found if isinstance(each, types.FunctionType)}
    return any(map(is_users, files - {"<string>"}))  # where a NamedTuple has its own


def _factories(made: Any) -> Iterator[object]:
    """What makes the defaults of the fields of a dataclass, a `Struct` of msgspec or a model of pydantic."""
    fields = (*getattr(made, "__dataclass_fields__", {}).values(), *getattr(made, "model_fields", {}).values())
    yield from (field.default_factory for field in fields)
    yield from (getattr(default, "factory", None) for default in getattr(made, "__struct_defaults__", ()))


def _only_makes(factory: Any) -> bool:
    """Whether what makes a default, if anything does, makes something new from nothing else: ``lambda: [0]``."""
    if factory is None or factory is dataclasses.MISSING or known(factory) is Known.NOTHING:
        return True
    if isinstance(factory, type):
        return factory in CONTAINERS or (is_users_class(factory) and only_keeps(factory))
    if not isinstance(factory, types.FunctionType) or factory.__code__.co_freevars:
        return False
    names, inbuilt = factory.__globals__, vars(builtins)
    return all(_only_makes(names.get(name, inbuilt.get(name, name))) for name in factory.__code__.co_names)


def _methods(made: type[object]) -> set[str]:
    """The names that a class and those that it is derived from define."""
    return {name for each in made.__mro__ if each is not object for name in vars(each)}
