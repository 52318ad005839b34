"""Configurations that name what is to be called, for those who build from them what they name."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import yaml

from governance.content.effort import Effort, SpentError
from governance.content.inspection import inspect, must_look
from governance.content.judgement import judge
from governance.content.targets import COMPUTED, yaml_targets


def named(*targets: str) -> dict[str, object]:
    """A configuration that names them below one another."""
    inner: dict[str, object] = {"lr": 0.1}
    for target in targets:
        inner = {"_target_": target, "_args_": [inner]}
    return {"model": {"encoder": [inner]}}


def seen(config: object) -> Sequence[tuple[str, ...]]:
    """What is found in it, as each sort of file."""
    text = json.dumps(config)
    files = {
        "config.json": text.encode(),
        "m/hparams.json": text.encode(),
        "model_config.yaml": yaml.safe_dump(config).encode(),
        "m/Config.YML": text.encode(),
    }
    return [inspect(name, data).imports for name, data in files.items()]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("os.system", "os.system"),
        ("builtins.exec", "builtins.exec"),
        ("logging.os.system", "os.system"),
        ("torch.serialization.os.system", "os.system"),
        ("acme.tools.subprocess.Popen", "subprocess.Popen"),
        ("acme.tools.subprocess.call", "subprocess.call"),
        ("numpy.testing._private.utils.runstring", "numpy.testing._private.utils.runstring"),
        ("pip.main", "pip.main"),
        ("cloudpickle.os.path.os.system", "os.system"),
        ("os.path.os.system", "os.system"),
    ],
)
def test_a_target_that_runs_is_malicious_by_whatever_module_it_is_reached(target: str, told: str) -> None:
    for imports in seen(named("torch.nn.Linear", target)):
        assert imports == (told,)
        assert judge(imports, is_broken=False) == "malicious"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("torch.load", "?target.torch.load"),
        ("datasets.load_dataset", "?target.datasets.load_dataset"),
        ("hydra.utils.get_method", "?target.hydra.utils.get_method"),
        ("${loader}", COMPUTED),
        ("${oc.env:LOADER}.load", COMPUTED),
    ],
)
def test_one_that_fetches_or_is_worked_out_is_suspicious(target: str, told: str) -> None:
    for imports in seen(named(target)):
        assert imports == (told,)
        assert judge(imports, is_broken=False) == "suspicious"


def test_parts_and_what_trainings_ask_the_machine_are_not_minded() -> None:
    parts = (
        "torch.optim.AdamW", "acme.models.Encoder", "src.utils.logging.Logger", "acme.code.Book", "builtins.dict", "functools.partial",
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher", "logging.StreamHandler", "os.path.join", "pathlib.Path",
        "lightning.pytorch.callbacks.ModelCheckpoint", "datetime.timedelta", "Encoder", "", ".", "..",
    )  # fmt: skip
    for imports in seen(named(*parts)):
        assert imports == ()
    for imports in seen(
        {"target": "email.domain", "features": ["age"], "_target_": ["os.system"], "a": "_target_"}
    ):
        assert imports == ()


def test_a_target_beside_its_parameters_is_one() -> None:
    for imports in seen({"model": {"target": "os.system", "params": {"command": "id"}}})[::2]:
        assert imports == ("os.system",)


@pytest.mark.parametrize(
    "data",
    [
        b"_target_: os.system\n",
        b"{_args_: [id], '_target_': os.system}\n",
        b'"\\x5ftarg\\u0065t_": "os\\x2esystem"\n',
        b"a: &name os.system\nb: {_target_: *name}\n",
        b"a: &base {_target_: os.system}\nb: {<<: *base, _args_: [id]}\n",
        b"a: &base {params: {command: id}}\nb: {<<: *base, target: os.system}\n",
        b"_target_: torch.nn.Linear\n_target_: os.system\n",
        b"? {a: 1}\n: b\n? [c]\n: _target_\n_target_: os.system\n",
        b"a: 1\n---\n- - _target_: !!str os.system\n",
        b"a: {_target_: os.system\n---\n: no yaml",
        "_target_: os.system\n".encode("utf-16"),
        b"_target_: >-\n  os.system\n",
    ],
)
def test_yaml_is_read_as_its_loaders_do(data: bytes) -> None:
    assert inspect("conf.yaml", data).imports == ("os.system",)


def test_a_long_file_is_read_whole_and_an_endless_one_is_not() -> None:
    data = b"a: 1\n" * 2_000 + b"_target_: os.system\n"
    assert must_look("model_config.yaml", data[:4096], len(data))
    assert inspect("model_config.yaml", data).imports == ("os.system",)
    with pytest.raises(SpentError):
        yaml_targets(data, Effort(operations=1_000))
    assert inspect("a.yaml", data, effort=Effort(operations=1_000)).skipped is not None


def test_what_is_no_document_names_nothing() -> None:
    assert inspect("m.json", b'{"_target_": "os.system"').imports == ()
    assert inspect("m.yaml", b"[" * 5_000 + b"_target_").imports == ()
