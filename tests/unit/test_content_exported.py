"""Exported programs of PyTorch: JSON of which torch runs texts as Python when it reads them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from governance.content.effort import Effort
from governance.content.inspection import inspect
from governance.content.judgement import judge

SHAPE = "Mul(Integer(3), Max(Integer(1), Add(Symbol('s77', positive=True, integer=True), Integer(-2))))"
GUARD = "((((-2) + L['x'].size()[3])*max(1, (-2) + L['args'][0].size()[2])) % 36) <= 1 and L['mode'] == 'mean' and not math.isnan(L['k'])"
RUN = "__import__('os').system('id')"


def spec(context: object) -> str:
    """How inputs are nested, as torch writes it: JSON in a text, with JSON in a text."""
    inner = {"type": "builtins.dict", "context": json.dumps(context), "children_spec": []}
    return json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [inner]}])


def program(**changed: Any) -> dict[str, Any]:
    """As `torch.export.save` writes one, with some of its texts changed."""
    node = {
        "target": changed.get("target", "torch.ops.aten.linear.default"),
        "inputs": [
            {"name": "input", "arg": changed.get("argument", {"as_tensor": {"name": "x"}}), "kind": 1}
        ],
        "outputs": [{"as_tensor": {"name": changed.get("name", "linear")}}],
        "metadata": {"stack_trace": 'File "train.py", line 5', "nn_module_stack": "L__self__,,__main__.M"},
    }
    sizes = [{"as_expr": {"expr_str": changed.get("shape", SHAPE), "hint": {"as_int": 4}}}, {"as_int": 2}]
    call = {"fqn": "", "signature": {"in_spec": changed.get("spec", spec(["a", "b"])), "out_spec": "[1, {}]"}}
    return {
        "graph_module": {
            "graph": {"nodes": [node], "tensor_values": {"x": {"dtype": 7, "sizes": sizes}}},
            "module_call_graph": [call],
        },
        "range_constraints": {changed.get("range", "s77"): {"min_val": 2, "max_val": None}},
        "verifiers": ["TRAINING"],
        "torch_version": "2.13.0+cpu",
        "guards_code": [changed.get("guard", GUARD)],
    }


def archive(
    document: object, *, member: str = "model/models/model.json", beside: str = "model/byteorder"
) -> bytes:
    """The zip that it stands in."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr(member, json.dumps(document))
        file.writestr(beside, "little")
    return whole.getvalue()


def verdict(data: bytes, name: str = "data/model.pt2") -> str:
    """That of the file, which must have been looked into."""
    found = inspect(name, data)
    assert found.skipped is None
    return judge(found.imports, is_broken=found.broken is not None)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"shape": "Eq(s0, 3*u1 + (s2 - 2)//2)"},
        {"shape": "GreaterThan(Symbol('u0', integer=True), Integer(0))"},
        {"target": "torch.ops.higher_order.cond"},
        {"target": "_operator.floordiv"},
        {"target": "torch.ops.aten.__and__.Tensor"},
        {"argument": {"as_string": "Runtime assertion failed for 'u0 >= 0' (eval)"}},
        {"argument": {"as_strings": ["a b", RUN]}},
        {
            "spec": spec(
                {"default_factory_module": "builtins", "default_factory_name": "list", "dict_context": []}
            )
        },
    ],
)
def test_a_program_that_computes_is_clean(changed: dict[str, Any]) -> None:
    assert verdict(archive(program(**changed))) == "clean"


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": RUN},
        {"shape": f"Add({json.dumps(RUN)}, Integer(1))"},
        {"shape": "Integer(open('/etc/hosts', 'w').write('x'))"},
        {"shape": "(lambda: exec('1'))()"},
        {"guard": RUN},
        {"guard": f"L['x'].size()[0] >= 2), {RUN}, (True"},
        {"guard": "torch.os.system('id') == 0"},
        {"name": f"x={RUN}"},
        {"range": RUN},
        {"spec": spec([f'k", {RUN}, "'])},
        {"spec": spec([{"__enum__": True, "fqn": "os:system", "name": "A"}])},
        {
            "spec": spec(
                {"default_factory_module": "os", "default_factory_name": "system", "dict_context": []}
            )
        },
        {"target": "torch.os.system"},
        {"target": "torch.ops.aten.from_file.default"},
        {"argument": {"as_operator": "torch.os.system"}},
        {"spec": '[1, {"context": "\ud800"}]', "shape": RUN},
    ],
)
@pytest.mark.parametrize("name", ["data/model.pt2", "weights.bin", "a.zip"])
def test_a_program_that_has_python_run_is_malicious(changed: dict[str, Any], name: str) -> None:
    assert verdict(archive(program(**changed)), name) == "malicious"


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": "Add(['s0'], Integer(1))"},
        {"shape": "Symbol('s0 + 1')"},
        {"shape": "Symbol('s0', cls=preview)"},
        {"shape": "(preview)('s0')"},
        {"shape": "lambdify(s0, s0)"},
        {"guard": "max(['x'], 1)"},
        {"guard": "max(L['x'], key=print)"},
        {"guard": "L['x'].backward()"},
        {"guard": "acme(L['x'])"},
        {"guard": 'L["x"] == 1'},
        {"guard": "1 + 1" * 50_000},
        {"name": "x=1"},
        {"range": "s0 s1"},
        {"spec": "[1, no JSON]"},
        {"spec": spec([{"__enum__": True, "fqn": "acme:Colour", "name": "RED"}])},
        {"spec": spec([{"__enum__": True, "fqn": 1}])},
        {"target": "torch.ops.acme.op.default"},
        {"target": "torch.ops.higher_order.call_torchbind"},
        {"target": "torch.ops.aten.__init__"},
        {"target": "acme.run"},
    ],
)
def test_what_is_not_known_to_compute_is_suspicious(changed: dict[str, Any]) -> None:
    assert verdict(archive(program(**changed))) == "suspicious"


@pytest.mark.parametrize(
    "member", ["serialized_exported_program.json", "MODEL/Models/a/b.JSON", "models/model.json"]
)
def test_a_program_is_found_wherever_torch_reads_one(member: str) -> None:
    assert verdict(archive(program(shape=RUN), member=member)) == "malicious"
    assert verdict(archive({"shape": RUN}, member=member)) == "clean"  # no program


def test_what_it_is_compiled_to_is_not_looked_into() -> None:
    """Libraries that torch loads, or sources that it has the compiler run for, with the flags that a file beside them names."""
    for name in ("model.pt2", "a.zip"):
        found = inspect(name, archive(program(), beside="model/data/aotinductor/model/flags.json"))
        assert found.skipped == "it holds compiled code, which is not looked into"


def test_arithmetic_without_end_is_more_than_is_looked_into() -> None:
    """Megabytes of it are packed in a few KiB."""
    found = inspect(
        "model.pt2", archive(program(shape="s77+" * 10_000 + "1")), effort=Effort(operations=20_000)
    )
    assert found.skipped is not None
