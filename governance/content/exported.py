"""What is run when torch reads an exported program: the `.pt2` that MLflow writes of each PyTorch model by default, and its like.

Its graph is JSON, which says that it holds no code. But torch has the texts of shapes worked out by sympy, which evaluates them as Python;
compiles the texts of guards, and the names of values, into the function that runs the graph; imports what stands for an enumeration; and finds
operators by `getattr`, from `torch` on.

Promises: every text in a program is held against what may stand in its place: arithmetic, a name, or an operator of torch's own that computes.
Does not: know operators that libraries bring; or look into what a program is compiled to (`is_compiled`).

Source: `torch/_export/serde/schema.py` and `serialize.py`, `torch/export/_unlift.py`, `torch/utils/_pytree.py`, of torch 2.2 to 2.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from governance.content.documents import NoDocumentError, read_document
from governance.content.effort import Effort
from governance.content.machine import UNRESOLVED, WITHIN
from governance.content.scripts import ROOT as SCRIPT

ROOT: Final = "?export"
CODE: Final = f"{ROOT}.code"
RUNS: Final = f"{ROOT}.runs"

_PROGRAM: Final = re.compile(r"(?:.*/)?(?:models/.*\.json|serialized_exported_program\.json)", re.DOTALL)
_COMPILED: Final = "data/aotinductor/"
_GRAPH: Final = "graph_module"
_LONGEST: Final = 200
_MAX_CODE: Final = 100_000

_NAME: Final = re.compile(r"[\w.:-]*")
_FREE: Final = frozenset(
    ("as_string", "as_strings", "custom", "from_node", "nn_module_stack", "source_fn_stack", "stack_trace", "torch_fn", "torch_version")
)  # fmt: skip
"""Under which a text is told, or written out as one."""
_OPERATORS: Final = frozenset({"target", "as_operator"})
_SPECIFICATIONS: Final = frozenset({"in_spec", "out_spec"})
_EXPRESSION: Final = "expr_str"
_GUARDS: Final = "guards_code"
_CONTEXT: Final = "context"

_OPERATOR: Final = re.compile(
    r"torch\.ops\.(?:aten|prims|quantized_decomposed|torchvision)\.(?!__)\w+(?:\.(?!__)\w+)?"
    r"|torch\.ops\.aten\.__(?:and|iand|ilshift|ior|irshift|ixor|lshift|or|rshift|xor)__\.\w+"
    r"|torch\.ops\.higher_order\.(?:associative_scan|cond|flex_attention|map_impl|scan|while_loop|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|torch\.(?:_sym_sqrt|sym_(?:float|int|ite|max|min|not|sqrt|sum))|math\.trunc"
    r"|_operator\.(?:add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|or_|pos|pow|rshift|sub|truediv)",
    re.ASCII,
)
_REACHES: Final = re.compile(r"torch\.ops\.aten\.(from_file|save)(?:\.\w+)?", re.ASCII)

_TOKEN: Final = re.compile(
    r"\s+|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'[^'\"\\\n]*')|(?P<word>math\.[a-z]+|[A-Za-z_]\w*)"
    r"|(?P<method>\.(?:size|stride|storage_offset)\(\))|(?P<mark>[-+*/%<>=!&|~^(),\[\]])",
    re.ASCII,
)
_SYMBOL: Final = re.compile(r"'[A-Za-z_]\w*'", re.ASCII)
_FUNCTIONS: Final = frozenset(
    (
        "Abs", "Add", "And", "BitwiseFn_bitwise_and", "BitwiseFn_bitwise_or", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality",
        "ExprCondPair", "Float", "FloatPow", "FloatTrueDiv", "FloorDiv", "FloorToInt", "Ge", "GreaterThan", "Gt", "Identity", "IntTrueDiv",
        "Integer", "IsNonOverlappingAndDenseIndicator", "LShift", "Le", "LessThan", "Lt", "Max", "Min", "Mod", "ModularIndexing", "Mul", "Ne",
        "Not", "Or", "Piecewise", "Pow", "PowByNatural", "PythonMod", "RShift", "Rational", "RoundDecimal", "RoundToInt", "StrictGreaterThan",
        "StrictLessThan", "Symbol", "ToFloat", "TruncToFloat", "TruncToInt", "Unequality", "Where", "abs", "and", "bool", "ceiling", "float",
        "floor", "int", "math.ceil", "math.floor", "math.isnan", "math.sqrt", "math.trunc", "max", "min", "not", "or",
    )
)  # fmt: skip
_WORDS: Final = _FUNCTIONS | {
    "False", "L", "None", "True", "else", "evaluate", "if", "inf", "int_oo", "math.inf", "math.nan", "nan", "oo",
    "even", "finite", "integer", "negative", "nonnegative", "nonzero", "odd", "positive", "real",
}  # fmt: skip
_SHAPE: Final = re.compile(r"[a-z]{1,3}\d+")
"""As torch calls the sizes that it does not know: `s0`, `u3`."""
_BEFORE_TEXT: Final = frozenset((("L", "["), ("]", "["), ("=", "="), ("!", "=")))
"""By which an input is found, or what an input is compared with."""
_RUNS: Final = re.compile(
    r"__|\b(?:breakpoint|builtins|compile|ctypes|delattr|eval|exec|getattr|globals|import|importlib|input|io|lambda|locals|open|os|pickle|posix"
    r"|runpy|setattr|socket|subprocess|sympify|sys|torch|vars)\b"
)


def is_program(member: str) -> bool:
    """Whether torch may read a program from a member of a zip that has this name."""
    return _PROGRAM.fullmatch(member.casefold()) is not None


def is_compiled(member: str) -> bool:
    """Whether a member is of a program that was compiled: torch loads its libraries, or has the compiler run that its files name."""
    return _COMPILED in member.casefold()


def program_reaches(data: bytes, effort: Effort) -> frozenset[str]:
    """What a program has run beside the operators that compute. Raises `DocumentError`, and `SpentError` for too much arithmetic."""
    try:
        program = read_document(data)
    except NoDocumentError:
        return frozenset()  # nobody reads it
    if not isinstance(program, dict) or _GRAPH not in program:
        return frozenset()
    return frozenset(_reached(program, effort))


def _reached(document: object, effort: Effort) -> Iterator[str]:
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            yield from _imported(value)
            yield from (_worth(name) for name in value if not _NAME.fullmatch(name))
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, each) for each in value)
        elif isinstance(value, str):
            if key in _SPECIFICATIONS or (key == _CONTEXT and value[:1] in {"[", "{", '"'}):
                yield from _specified(value, effort)
            else:
                yield from _texts(key, value, effort)


def _specified(value: str, effort: Effort) -> Iterator[str]:
    """What is in a text that is JSON itself: how inputs are nested."""
    try:
        yield from _reached(read_document(value.encode("utf-8", "surrogatepass")), effort)
    except NoDocumentError:
        yield CODE


def _imported(value: dict[str, object]) -> Iterator[str]:
    """What a member of an enumeration, or what makes a dictionary's missing values, is imported by."""
    if "__enum__" in value:
        named = value.get("fqn")
        yield named.replace(":", ".", 1)[:_LONGEST] if isinstance(named, str) else UNRESOLVED
    if "default_factory_module" in value:
        named = [value.get(f"default_factory_{part}") for part in ("module", "name")]
        yield ".".join(map(str, named))[:_LONGEST]


def _texts(key: str, value: str, effort: Effort) -> Iterator[str]:
    if key in _OPERATORS:
        yield from _operators(value)
    elif key not in _FREE:
        is_code = key in {_EXPRESSION, _GUARDS}
        if is_code:
            effort.demand(len(value))
        harmless = _is_reckoning(value, is_guard=key == _GUARDS) if is_code else _NAME.fullmatch(value)
        if not harmless:
            yield _worth(value)


def _worth(code: str) -> str:
    return RUNS if _RUNS.search(code) else CODE


def _operators(value: str) -> Iterator[str]:
    reaches = _REACHES.fullmatch(value)
    if reaches:
        yield f"{SCRIPT}.{reaches[1]}"
    elif not _OPERATOR.fullmatch(value):
        yield f"{ROOT}.{value[:_LONGEST]}"
        yield f"{WITHIN}{value.partition('.')[2][:_LONGEST]}"


def _is_reckoning(code: str, *, is_guard: bool) -> bool:
    """Whether a text is arithmetic on sizes and numbers: it calls functions of this kind alone, and gives a text to none, but for the name
    of a symbol."""
    if len(code) > _MAX_CODE:
        return False
    position, before, last = 0, "", ""
    while position < len(code):
        token = _TOKEN.match(code, position)
        if token is None:
            return False
        position = token.end()
        if token.lastgroup is not None:
            if not _may_follow(token, before, last, is_guard=is_guard):
                return False
            before, last = last, token[0]
    return True


def _may_follow(token: re.Match[str], before: str, last: str, *, is_guard: bool) -> bool:
    if token["text"]:
        if is_guard:
            return (before, last) in _BEFORE_TEXT
        return last == "(" and before == "Symbol" and _SYMBOL.fullmatch(token["text"]) is not None
    if token["method"]:
        return is_guard
    if token["mark"] == "(":
        return last in _FUNCTIONS or (last != ")" and last[-1:] in {"", *"-+*/%<>=!&|~^(,["})
    return token["word"] is None or token["word"] in _WORDS or _SHAPE.fullmatch(token["word"]) is not None
