"""Attacks by way of what MLflow's and joblib's loaders do beside unpickling. Each is first seen to work."""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import pytest
import yaml

from tests.attacks.test_hidden_code import look


def test_a_model_that_is_loaded_by_a_module_of_the_interpreters_is_malicious(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that opens a browser as soon as it is imported. The model holds no code at all."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    text = yaml.safe_dump({"flavors": {"python_function": {"loader_module": "antigravity", "env": {}}}})
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(AttributeError, match="_load_pyfunc"):
        mlflow.pyfunc.load_model(str(tmp_path))
    assert len(opened) == 1
    facts = look(tmp_path, "MLmodel", text.encode())
    assert facts["content.verdict"] == "malicious"
