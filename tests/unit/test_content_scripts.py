"""TorchScript: code in a language of its own, whose operators open and write files for whoever uses the model."""

from __future__ import annotations

import io
import pickle
import zipfile

import pytest

from governance.content.effort import Effort
from governance.content.inspection import inspect
from governance.content.judgement import judge

CLASS = b"class M(Module):\n  training : bool\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    return %b\n"


def script(code: bytes, *, constants: str = "constants.pkl", place: str = "code/__torch__.py") -> bytes:
    """A zip as `torch.jit.save` lays it out."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
        archive.writestr(f"model/{place}", code)
        archive.writestr(f"model/{constants}", pickle.dumps(()))
    return whole.getvalue()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (b'torch.from_file("/etc/hosts", True, 4)', "from_file"),
        (b'ops.aten.from_file("/etc/hosts", True, 4)', "from_file"),
        (b'torch . from_file  ("/etc/hosts", True, 4)', "from_file"),
        (b'torch.\\\n      from_file("/etc/hosts", True, 4)', "from_file"),
        (b'(torch.  # c\n      from_file)("/etc/hosts", True, 4)', "from_file"),
        (b'getattr(torch, "from_file")("/etc/hosts", True, 4)', "from_file"),
        (b'getattr(torch, "from\\137file")("/etc/hosts", True, 4)', "getattr"),
        (b'getattr(t, "from\\137file")("/etc/hosts", True, 4)', "getattr"),
        (b'torch.save(x, "/etc/hosts")', "save"),
        (b'x.  # c\n save("/etc/hosts")', "save"),
        (b"getattr(ops.aten, 'save')(x, '/etc/hosts')", "save"),
        (b'ops.image.write_file("/etc/hosts", x)', "write_file"),
    ],
)
def test_an_operator_that_writes_is_malicious_however_it_is_called(code: bytes, told: str) -> None:
    for name in ("data/model.pth", "weights.bin", "a.pt"):
        found = inspect(name, script(CLASS % code))
        assert f"?torchscript.{told}" in found.imports
        assert judge(found.imports, is_broken=False) == "malicious"


def test_one_that_reads_is_named_and_what_computes_is_not() -> None:
    found = inspect("a.pt", script(CLASS % b'ops.image.read_file("/etc/hosts")'))
    assert found.imports == ("?torchscript.read_file",)
    assert judge(found.imports, is_broken=False) == "suspicious"
    harmless = b'torch.add(x, getattr(self.layers, "0").forward(x), alpha=1).save_to(y, saved, "safe")'
    assert inspect("a.pt", script(CLASS % harmless)).imports == ()


def test_code_is_looked_for_where_torch_finds_it_and_nowhere_else() -> None:
    writes = CLASS % b'torch.save(x, "f")'
    assert inspect("a.pt", script(writes, place="code/acme/deep/er.py")).imports == ("?torchscript.save",)
    assert inspect("a.pt", script(writes, constants="other.pkl")).imports == ()
    assert inspect("a.pt", script(writes, place="extra/notes.py")).imports == ()


def test_compiled_code_beside_tensors_is_not_looked_into() -> None:
    found = inspect("model.pt2", script(b"\x7fELF", place="data/aotinductor/model/c.wrapper.so"))
    assert (found.format, found.skipped) == ("torch-zip", "it holds compiled code, which is not looked into")


def test_more_code_than_there_is_leave_for_is_not_looked_into() -> None:
    data = script(CLASS % (b"x + " * 100_000 + b"x"))
    assert inspect("a.pt", data).skipped is None
    assert inspect("a.pt", data, effort=Effort(operations=5_000)).skipped is not None
