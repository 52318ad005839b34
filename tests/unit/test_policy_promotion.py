"""Which acts on a registry are promotions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from governance.errors import SettingsError
from governance.policy.cases import run_cases
from governance.policy.load import load_files
from governance.policy.promotion import Promotions, parse_promotions
from governance.settings import DEFAULT_PROMOTIONS, Settings, load_settings


def table(**rows: str) -> Promotions:
    return parse_promotions((key.replace("__", ":"), value) for key, value in rows.items())


def test_the_default_is_champion_production_and_the_two_stages() -> None:
    default = Settings(_env_file=None).promotion_table
    assert parse_promotions(DEFAULT_PROMOTIONS) == default
    assert [default.of_alias(alias) for alias in ("champion", "production", "prod", "challenger", "staging")] == [
        "production", "production", None, None, None,
    ]  # fmt: skip
    assert [default.of_stage(stage) for stage in ("Production", "Staging", "None", "Archived")] == [
        "production", "staging", None, None,
    ]  # fmt: skip
    assert default.of_model("fraud") is None


@pytest.mark.parametrize("alias", ["Champion", "CHAMPION", "chámpion", "cha\u0301mpion", "\uff23ha\uff4dpion", "champion\n"])  # fmt: skip
def test_a_name_is_not_another_by_its_spelling(alias: str) -> None:
    assert table(champion="prod").of_alias(alias) == "production", (
        "what some collation takes for the same row"
    )


def test_the_example_of_the_page_does_what_it_says() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "promotion.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    report = run_cases(load_files({"promotion.md": block.encode()}))
    assert [(one.case, one.differences) for one in report.failed] == []
    assert len(report.results) == 3
    assert [row.rule for row in report.coverage if not row.matched] == []


def test_an_alias_is_no_stage_and_no_model() -> None:
    only = parse_promotions([("stage:Production", "production"), ("models:/m", "staging")])
    assert only.of_alias("Production") is None
    assert only.of_alias("stage:Production") == "production", "no alias can be called so"
    assert only.of_stage("m") is None
    assert only.of_model("M") == "staging"


def test_the_most_exact_row_counts_whatever_the_order() -> None:
    rows = [
        ("models:/prod.*", "production"),
        ("models:/*", "development"),
        ("models:/prod.eu.*", "europe"),
        ("models:/prod.x", "lab"),
    ]
    for order in (rows, rows[::-1]):
        promotions = parse_promotions(order)
        assert [promotions.of_model(name) for name in ("dev.a", "prod.a", "PROD.a", "prod.eu.a", "prod.x", "prod.x2")] == [
            "development", "production", "production", "europe", "lab", "production",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("", "production")], "neither an alias"),
        ([("a b", "production")], "neither an alias"),
        ([("models:/", "production")], "neither an alias"),
        ([("models:/a/1", "production")], "neither an alias"),
        ([("models:/a*b", "production")], "neither an alias"),
        ([("stage:", "production")], "neither an alias"),
        ([("champion", "")], "no environment"),
        ([("champion", "Pro duction")], "no environment"),
        ([("champion", "a"), ("Champion", "b")], "are one name"),
        ([(f"a{n}", "b") for n in range(201)], "at most 200"),
    ],
)
def test_a_row_that_is_none_is_named(rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_promotions(rows)


def test_the_table_is_read_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlgov.toml"
    file.write_text('[promotions]\ngold = "prod"\n"models:/prod.*" = "production"\n')
    monkeypatch.setenv("MLGOV_CONFIG", str(file))
    assert load_settings().promotions == (("gold", "production"), ("models:/prod.*", "production"))
    monkeypatch.setenv("MLGOV_PROMOTIONS", "silver = staging, stage:Production=production,")
    loaded = load_settings()
    assert loaded.promotions == (("silver", "staging"), ("stage:Production", "production"))
    assert hash(loaded) == hash(load_settings()), "the parts are kept by their settings"
    for wrong in (" , ", " ", "silver", "silver=", "a=b,a=c", "models:/=x"):
        monkeypatch.setenv("MLGOV_PROMOTIONS", wrong)
        with pytest.raises(SettingsError, match="MLGOV_PROMOTIONS"):
            load_settings()
    monkeypatch.delenv("MLGOV_PROMOTIONS")
    file.write_text("[promotions]\n")
    assert load_settings().promotions == (), "a table without rows says that nothing is a promotion"
