"""What to think of the names that a pickle imports. Pure.

Three answers for a name: *allowed* (on the exact list in `allowed`), *dangerous* (of the standard library, and neither allowed nor
in `no_proof`; of a package whose business is installing, fetching or running; what leads from one of another package to
these; by which a template leaves its confines; or an import that a pickle changes, or itself calls though it only may be named), and *unknown* otherwise. A list of dangerous names alone can be walked
around, and is: so unknown is never good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from governance.content.allowed import ALLOWED
from governance.content.calls import CALLS
from governance.content.machine import CHANGES, WITHIN
from governance.content.no_proof import NO_PROOF
from governance.content.standard_library import MODULES

CLEAN: Final = "clean"
SUSPICIOUS: Final = "suspicious"
MALICIOUS: Final = "malicious"

# fmt: off
_RUNS_OR_FETCHES: Final = frozenset((
    "IPython", "_osx_support", "_pyrepl", "aiohttp", "fabric", "ftputil", "httpx", "invoke", "ipykernel", "paramiko", "pexpect", "pip",
    "pkg_resources", "plumbum", "ptyprocess", "requests", "setuptools", "sh", "urllib3", "websocket",
    "websockets", "wget",
))
# What of machine learning's own packages runs, as code or as a command, the text that it is given.
_RUNS_TEXT: Final = frozenset((
    "numpy.testing._private.utils.rundocs", "numpy.testing._private.utils.runstring",
    "pandas.core.computation.eval.eval", "pandas.eval", "torch._dynamo.guards.GuardBuilder.get",
    "torch._inductor.codecache.compile_file", "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression",
    "torch.jit.unsupported_tensor_ops.execWrapper", "torch.utils._config_module.ConfigModule.load_config",
    "torch.utils.bottleneck.__main__.run_autograd_prof", "torch.utils.bottleneck.__main__.run_cprofile",
    "torch.utils.collect_env.run", "torch.utils.data.datapipes.utils.decoder.basichandlers",
))
_RUNS_WHAT_IT_IS_GIVEN: Final = (
    "governance.cli.", "mlflow.assistant.", "mlflow.projects.", "mlflow.rfunc.", "mlflow.utils.process.", "numpy.distutils.", "numpy.f2py.",
)
# How functions are called that run commands or code, in whatever package: MLflow's own would do for any model.
_RUNNERS: Final = frozenset((
    "Popen", "_check_and_log_subprocess", "_exec_cmd", "_exec_command", "_execfile", "_fixup_main_from_path", "_getattribute",
    "_import_module", "_pipepager", "_run_checked_subprocess", "_run_cert_provider_command", "_run_code", "_run_command", "_run_hook",
    "_run_subprocess", "_run_subprocess_ignore_stderr", "_tempfilepager", "attrgetter", "check_call", "check_output", "exec_", "exec_command",
    "dottedgetter", "exec_mod_from_location", "execfile", "fork_exec", "getoutput", "getstatusoutput", "import_module", "methodcaller", "popen", "safer_popen",
))
# fmt: on
_PRIVATE: Final = frozenset(f"_{name}" for name in MODULES) | {
    "_aix_support",
    "_frozen_importlib",
    "_frozen_importlib_external",
    "_posixsubprocess",
    "_sitebuiltins",
    "_winapi",
}  # fmt: skip
"""`_io` and its like: the same modules by another door."""


# What a template gets from any value to the interpreter by; to ask for a value's class alone is only odd.
_ESCAPES: Final = frozenset(
    f"?template.{name}"
    for name in (
        "__base__", "__bases__", "__builtins__", "__closure__", "__code__", "__getattribute__", "__globals__", "__import__",
        "__init__", "__loader__", "__mro__", "__reduce__", "__reduce_ex__", "__spec__", "__subclasses__", "_TemplateReference__context",
        "ag_frame", "cr_frame", "f_back", "f_builtins", "f_globals", "f_locals", "func_globals", "gi_frame", "mro", "tb_frame",
    )
)  # fmt: skip


# What leads from any function, class or module to the rest of the interpreter, as a part of a name.
_LEADS_OUT: Final = frozenset((
    "__base__", "__bases__", "__builtins__", "__closure__", "__code__", "__dict__", "__getattribute__", "__globals__", "__import__",
    "__loader__", "__mro__", "__self__", "__spec__", "__subclasses__", "func_globals", "gi_frame", "mro",
))  # fmt: skip

_GETS_OUT: Final = _ESCAPES | {
    "?export.runs", "?tensorflow.WriteFile", "?tensorflow.output_stream", "?torchscript.from_file", "?torchscript.getattr", "?torchscript.save", "?torchscript.write_file",
}  # fmt: skip
"""And what a graph or script changes the machine by that runs it: `from_file` writes, too, where the file is shared; the texts of an
exported program are run as Python."""


def is_allowed(name: str) -> bool:
    """True for a name on the exact list, and for a path within a module that leads nowhere else: its whole name stands beside it."""
    return name in ALLOWED or (name.startswith(WITHIN) and not is_dangerous(name))


def is_dangerous(name: str) -> bool:
    """True for a name that no model needs and that attacks are made of."""
    if name in ALLOWED or name in NO_PROOF:
        return False
    if name in _GETS_OUT or name in _RUNS_TEXT or name.startswith(_RUNS_WHAT_IT_IS_GIVEN):
        return True
    if name.startswith((CHANGES, CALLS)):
        return True
    if name.startswith(WITHIN):
        return _leads_out(name.removeprefix(WITHIN).split("."))
    root, *rest = name.split(".")
    if root in MODULES or root in _PRIVATE or root in _RUNS_OR_FETCHES:
        return True
    return not _LEADS_OUT.isdisjoint(rest) or (bool(rest) and rest[-1] in _RUNNERS)


def _leads_out(path: Sequence[str]) -> bool:
    """Whether a path within a module goes through a module that it imported to what is dangerous there."""
    return any(is_dangerous(".".join(path[start:])) for start in range(len(path) - 1))


def judge(imports: Iterable[str], *, is_broken: bool) -> str:
    """The verdict on one file. `is_broken` says that it could not be read to its end as what it claims to be."""
    names = set(imports)
    if any(is_dangerous(name) for name in names):
        return MALICIOUS
    return CLEAN if not is_broken and all(map(is_allowed, names)) else SUSPICIOUS
