"""Names of the standard library that no data needs, and that prove no malice.

They stand in what cloudpickle writes of a notebook or script: each custom transformer and each `mlflow.pyfunc.PythonModel` that is
logged as an object. What such a model does is in its functions' code, which no name tells, so none of these is allowed:
a pickle that names them is suspicious.

None runs text, loads, opens, fetches, or gets at what a value holds. One that calls what it is given is here all the same: a
pickle calls what it names without its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# fmt: off
_SEEN: Final = frozenset((
    "_operator.itemgetter", "_thread.RLock", "enum.Enum", "functools.partial",
    "itertools.count", "logging.getLogger", "operator.itemgetter", "random.Random", "re._compile",
    "string.Formatter", "threading.RLock",
))
"""In harmless checkpoints."""
# fmt: on
_OF_CLASSES: Final[Mapping[str, str]] = {
    "_collections": "_tuplegetter",
    "_functools": "cmp_to_key reduce",
    "_operator": "getitem or_",
    "_thread": "_local get_ident",
    "abc": "ABC ABCMeta",
    "ast": "NodeTransformer NodeVisitor",
    "builtins": (
        "ArithmeticError AssertionError AttributeError BaseException ConnectionError DeprecationWarning Exception "
        "FileNotFoundError FloatingPointError FutureWarning ImportError IndexError KeyError LookupError MemoryError NameError "
        "NotImplementedError OSError OverflowError PermissionError RecursionError RuntimeError RuntimeWarning StopIteration "
        "TimeoutError TypeError UnicodeDecodeError UnicodeError UserWarning ValueError Warning ZeroDivisionError "
        "abs all any bin callable chr classmethod divmod enumerate filter hash hex id isinstance issubclass iter len map max min "
        "next object.__new__ oct ord pow property repr reversed round sorted staticmethod sum super tuple.__new__ type zip"
    ),
    "collections": "ChainMap UserDict UserList UserString _tuplegetter",
    "collections.abc": (
        "AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable Collection Container Coroutine Generator Hashable "
        "ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence MutableSet Reversible "
        "Sequence Set Sized ValuesView _CallableGenericAlias"
    ),
    "contextlib": "AbstractContextManager ContextDecorator _GeneratorContextManager nullcontext",
    "dataclasses": (
        "Field FrozenInstanceError InitVar KW_ONLY _DataclassParams _HAS_DEFAULT_FACTORY_CLASS _KW_ONLY_TYPE _MISSING_TYPE "
        "_dataclass_getstate _dataclass_setstate _replace"
    ),
    "enum": "Enum.__new__ EnumMeta EnumType Flag FlagBoundary IntEnum IntFlag ReprEnum StrEnum auto",
    "functools": (
        "_ge_from_gt _ge_from_le _ge_from_lt _gt_from_ge _gt_from_le _gt_from_lt _le_from_ge _le_from_gt _le_from_lt "
        "_lt_from_ge _lt_from_gt _lt_from_le cached_property partialmethod singledispatchmethod"
    ),
    "html.parser": "HTMLParser",
    "inspect": "Parameter Signature _ParameterKind _empty",
    "json.decoder": "JSONDecodeError JSONDecoder",
    "json.encoder": "JSONEncoder",
    "logging": "Filter Formatter Handler LoggerAdapter",
    "numbers": "Complex Integral Number Rational Real",
    "string": "Template",
    "typing": (
        "AbstractSet Annotated AsyncGenerator AsyncIterable AsyncIterator Awaitable BinaryIO Callable ChainMap ClassVar "
        "Collection Concatenate Container ContextManager Coroutine Counter DefaultDict Deque Dict Final ForwardRef FrozenSet Generator "
        "Generic Hashable IO ItemsView Iterable Iterator KeysView List Literal LiteralString Mapping Match MutableMapping "
        "MutableSequence MutableSet NamedTuple Never NewType NoReturn NotRequired Optional OrderedDict ParamSpec Pattern Protocol "
        "Required Reversible Self Sequence Set Sized SupportsAbs SupportsBytes SupportsComplex SupportsFloat SupportsIndex "
        "SupportsInt SupportsRound TextIO Tuple Type TypeAlias TypeGuard TypeVar TypeVarTuple TypedDict Union Unpack "
        "ValuesView _ProtocolMeta _TypedDictMeta _allow_reckless_class_checks _get_protocol_attrs _is_callable_members_only "
        "_no_init_or_replace_init"
    ),
}
"""By which a class is built anew, with its base classes, decorators and type hints."""

_OF_FUNCTIONS: Final[Mapping[str, str]] = {
    "_bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "_hashlib": "openssl_md5 openssl_sha1 openssl_sha224 openssl_sha256 openssl_sha384 openssl_sha512",
    "_heapq": "heapify heappop heappush heappushpop heapreplace",
    "_io": "BytesIO StringIO",
    "_operator": (
        "abs add and_ concat contains countOf eq floordiv ge gt index indexOf inv invert is_ is_not le lshift lt matmul mod mul "
        "ne neg not_ pos pow rshift sub truediv truth xor"
    ),
    "_struct": "Struct calcsize iter_unpack pack unpack unpack_from",
    "base64": "b16decode b16encode b32decode b32encode b64decode b64encode b85decode b85encode urlsafe_b64decode urlsafe_b64encode",
    "binascii": "a2b_base64 a2b_hex b2a_base64 b2a_hex crc32 hexlify unhexlify",
    "builtins": (
        "bytes.decode dict.get dict.items dict.keys dict.values list.append list.count list.index str.capitalize str.casefold str.count str.encode str.endswith str.find str.isalnum str.isalpha str.isdigit "
        "str.islower str.isnumeric str.isspace str.istitle str.isupper str.join str.lower str.lstrip str.removeprefix "
        "str.removesuffix str.replace str.rsplit str.rstrip str.split str.splitlines str.startswith str.strip str.swapcase "
        "str.title str.translate str.upper str.zfill"
    ),
    "cmath": "exp isclose isfinite isinf isnan log phase polar rect sqrt",
    "contextlib": "closing contextmanager suppress",
    "copy": "copy deepcopy",
    "dataclasses": "asdict astuple fields is_dataclass replace",
    "difflib": "SequenceMatcher get_close_matches ndiff unified_diff",
    "functools": "cache lru_cache total_ordering wraps",
    "heapq": "merge nlargest nsmallest",
    "html": "escape unescape",
    "itertools": (
        "imap izip accumulate chain combinations combinations_with_replacement compress cycle dropwhile filterfalse groupby islice pairwise "
        "permutations product repeat starmap takewhile tee zip_longest"
    ),
    "json": "dumps loads",
    "math": (
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist erf erfc exp exp2 expm1 fabs "
        "factorial floor fmod frexp fsum gamma gcd hypot isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 "
        "modf nextafter perm pow prod radians remainder sin sinh sqrt tan tanh trunc ulp"
    ),
    "posixpath": "basename commonpath commonprefix dirname isabs join normcase normpath split splitdrive splitext",
    "re": "RegexFlag compile escape findall finditer fullmatch match search split sub subn",
    "statistics": (
        "correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median median_grouped median_high "
        "median_low mode multimode pstdev pvariance quantiles stdev variance"
    ),
    "string": "capwords",
    "textwrap": "dedent fill indent shorten wrap",
    "time": "ctime gmtime localtime mktime monotonic perf_counter process_time strftime strptime time time_ns",
    "types": "MethodType",
    "typing": "cast",
    "unicodedata": "category combining decomposition name normalize numeric",
    "urllib.parse": "parse_qs parse_qsl quote quote_plus unquote unquote_plus urlencode urljoin urlparse urlsplit urlunparse urlunsplit",
    "uuid": "uuid3 uuid4 uuid5",
    "zlib": "adler32 compress crc32 decompress",
}
"""To which a function refers that was written whole: `from json import dumps` above it in the notebook."""

_NOW: Final = _SEEN | {
    f"{module}.{name}"
    for table in (_OF_CLASSES, _OF_FUNCTIONS)
    for module, names in table.items()
    for name in names.split()
}
NO_PROOF: Final = _NOW.union(
    *(
        {name.replace(now, before, 1) for name in _NOW if name.startswith(now)}
        for now, before in (
            ("_functools.reduce", "__builtin__.reduce"),
            ("_thread.", "thread."),
            ("builtins.", "__builtin__."),
            ("builtins.str.", "__builtin__.unicode."),
        )
    )
)
"""As `module.name`, also by Python 2's name of the module, which protocols up to 2 write."""
