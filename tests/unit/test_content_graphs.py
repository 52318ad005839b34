"""Graphs of TensorFlow: operators that write, read or call beyond the graph, wherever in it they stand."""

from __future__ import annotations

import pytest

from governance.content.effort import Effort
from governance.content.inspection import inspect, inspect_parts
from governance.content.judgement import judge
from tests.unit.test_content_onnx import field, number


def node(operator: str) -> bytes:
    return field(1, b"name") + field(2, operator.encode()) + field(3, b"input") + field(5, field(1, b"T"))


def graph(*operators: str, within: str = "graph") -> bytes:
    nodes = [node(each) for each in operators]
    if within == "graph":
        return b"".join(field(1, each) for each in nodes)
    function = field(1, field(1, b"__inference_call")) + b"".join(field(3, each) for each in nodes)
    return field(1, node("StatefulPartitionedCall")) + field(2, field(1, function))


def saved(held: bytes) -> bytes:
    about = field(1, field(4, b"serve") + field(5, b"2.21.0"))
    return number(1 << 3) + number(1) + field(2, about + field(2, held))


USUAL = (
    "Placeholder",
    "MatMul",
    "ReadVariableOp",
    "SaveV2",
    "RestoreV2",
    "MergeV2Checkpoints",
    "InitializeTableFromTextFileV2",
)


@pytest.mark.parametrize("within", ["graph", "function"])
@pytest.mark.parametrize(
    ("operator", "verdict"),
    [("WriteFile", "malicious"), ("ReadFile", "suspicious"), ("EagerPyFunc", "suspicious")],
)
def test_an_operator_that_reaches_beyond_the_graph_is_named(within: str, operator: str, verdict: str) -> None:
    held = graph(*USUAL, operator, within=within)
    for name, data in (
        ("m/saved_model.pb", saved(held)),
        ("frozen.pb", held),
        ("m/SAVED_MODEL.PB", saved(held)),
    ):
        found = inspect(name, data)
        assert found.imports == (f"?tensorflow.{operator}",)
        assert judge(found.imports, is_broken=False) == verdict


def test_what_prints_to_a_file_writes_it() -> None:
    for stream, names in ((b"file:///root/.profile", ("?tensorflow.output_stream",)), (b"stderr", ())):
        held = field(
            1, field(2, b"PrintV2") + field(5, field(1, b"output_stream") + field(2, field(2, stream)))
        )
        found = inspect("saved_model.pb", saved(held))
        assert found.imports == names
        assert judge(found.imports, is_broken=False) == ("malicious" if names else "clean")


def test_a_graph_of_usual_operators_names_none_and_is_not_called_harmless() -> None:
    found = inspect("saved_model.pb", saved(graph(*USUAL) + graph(*USUAL, within="function")))
    assert (found.format, found.imports, found.broken) == ("tensorflow", (), None)
    assert found.skipped


def test_what_was_found_before_a_graph_breaks_off_stands() -> None:
    data = saved(graph("WriteFile", "MatMul"))
    assert inspect("saved_model.pb", data + b"\x12\xff").imports == ("?tensorflow.WriteFile",)
    assert inspect("keras_metadata.pb", b"no graph").imports == ()


def test_a_graph_that_is_not_held_is_followed_past_its_constants() -> None:
    weights = field(
        1, field(2, b"Const") + field(5, field(1, b"value") + field(2, field(8, field(4, bytes(3 << 20)))))
    )
    data = saved(weights * 6 + graph("WriteFile"))
    sizes = []

    def read(start: int, size: int) -> bytes:
        sizes.append(size)
        return data[start : start + size]

    found = inspect_parts("saved_model.pb", data[:4096], len(data), read, Effort())
    assert found.imports == ("?tensorflow.WriteFile",)
    assert sum(sizes) < 2 << 20
