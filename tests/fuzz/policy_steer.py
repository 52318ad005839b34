"""What atheris runs, in a process of its own: the policy loader, steered by coverage of the policy room alone.

Instrumenting everything that is imported takes minutes, so only our modules are, while they are imported.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["governance.policy"]):
    from governance.errors import PolicyInvalidError
    from governance.policy.compile import compile_bundle, from_document
    from governance.policy.load import load_files


def load(data: bytes) -> None:
    """What comes out of the loader compiles and replays; nothing but our own error comes out instead."""
    try:
        bundle = load_files({"f.yaml": data})
    except PolicyInvalidError:
        return
    policy = compile_bundle(bundle)
    assert from_document(policy.document).digest == policy.digest


if __name__ == "__main__":
    atheris.Setup(sys.argv, load)
    atheris.Fuzz()
