"""Whole networks of PyTorch, made of its own layers, as `torch.save` and MLflow's flavor pickle them."""

from __future__ import annotations

import pytest

from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, MALICIOUS, SUSPICIOUS, judge
from tests.unit.test_content_large_zips import zipped

HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")  # fmt: skip
EMPTY = b"ccollections\nOrderedDict\n)R"
TENSOR = (
    b"ctorch._utils\n_rebuild_parameter\nctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ"
    b"K\x00K\x02\x85K\x01\x85\x89" + EMPTY + b"tR\x88" + EMPTY + b"\x87R"
)


REBUILD = b"ctorch._tensor\n_rebuild_from_type_v2\n("


def named(name: str) -> bytes:
    """An import of `module.name`."""
    module, _, path = name.rpartition(".")
    return f"c{module}\n{path}\n".encode()


def layer(name: str = "linear.Linear", /, **held: bytes) -> bytes:
    """One layer, with some of its attributes."""
    state: dict[str, bytes] = {
        **dict.fromkeys(HOOKS, EMPTY), "training": b"\x88", "_parameters": table(weight=TENSOR), **held
    }  # fmt: skip
    return named(f"torch.nn.modules.{name}") + b")\x81" + table(b"}", **state) + b"b"


def table(start: bytes = EMPTY, /, **held: bytes) -> bytes:
    """A mapping of names."""
    keys = (b"X" + len(key).to_bytes(4, "little") + key.encode() + value for key, value in held.items())
    return start + b"(" + b"".join(keys) + b"u"


def network(**held: bytes) -> bytes:
    """Two layers, one after the other."""
    layers = {"0": layer(), "1": layer("activation.ReLU"), **held}
    return layer("container.Sequential", _modules=table(**layers))


def verdict(pickled: bytes) -> str:
    """That of the file that `torch.save` writes of it."""
    found = inspect("data/model.pth", zipped({"data.pkl": b"\x80\x02" + pickled + b"."}))
    assert (found.format, found.broken, found.skipped) == ("torch-zip", None, None)
    return judge(found.imports, is_broken=False)


@pytest.mark.parametrize(
    "pickled",
    [
        network(),
        network(add=layer("normalization.LayerNorm"), extend=layer("rnn.LSTM")),
        layer("transformer.TransformerEncoderLayer", activation=named("torch.nn.functional.relu")),
        b"ccopyreg\n_reconstructor\n"
        + named("torch.nn.modules.linear.Identity")
        + named("builtins.object")
        + b"N\x87R",
        REBUILD + b"ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n)}tR",
    ],
)
def test_a_network_of_torchs_own_layers_is_clean(pickled: bytes) -> None:
    assert verdict(pickled) == CLEAN


@pytest.mark.parametrize("place", [*HOOKS, "forward", "_compiled_call_impl", "activation", "_modules"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme.hook", SUSPICIOUS),
        ("torch.hub.load", SUSPICIOUS),
        ("posix.system", MALICIOUS),
        ("builtins.exec", MALICIOUS),
    ],
)
def test_what_it_calls_when_it_is_used_is_judged_by_its_name(place: str, name: str, expected: str) -> None:
    held = named(name) if place in {"forward", "activation", "_compiled_call_impl"} else table(a=named(name))
    assert verdict(network(**{"2": layer(**{place: held})})) == expected


@pytest.mark.parametrize(
    "pickled",
    [
        named("torch.nn.modules.transformer.TransformerEncoder") + layer() + b"K\x02\x86R",
        layer() + b"K\x01\x85R",  # it is used
        layer(_modules=table(extend=layer(forward=named("numpy.ndarray")))) + b"(K\x01K\x02e",
        layer(__setstate__=layer(forward=named("numpy.ndarray"))) + b"K\x05b",
        REBUILD + layer(forward=named("numpy.ndarray")) + b"ctorch\nTensor\nK\x05\x85}tR",
        REBUILD
        + named("sklearn.metrics._scorer._Scorer")
        + b")Rctorch\nTensor\nK\x05\x85}tRcnumpy\nndarray\n0",
        named("numpy.exp") + layer(_modules=table(exp=layer(forward=named("numpy.ndarray")))) + b"\x85R",
    ],
)
def test_one_that_is_used_while_it_is_loaded_is_malicious(pickled: bytes) -> None:
    """Whatever an attribute or a part of it is called: an unpickler, or numpy, asks instances for what they have under a name."""
    assert verdict(pickled) == MALICIOUS


@pytest.mark.parametrize(
    "name", ["module.Module", "module._WrappedHook", "lazy.LazyModuleMixin", "linear.Net"]
)
def test_what_is_no_layer_is_suspicious(name: str) -> None:
    assert verdict(network(**{"2": layer(name)})) == SUSPICIOUS
