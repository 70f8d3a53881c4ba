"""Names to plugins, from real metadata of made-up distributions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from n6convert.errors import PluginError, UsageError
from n6convert.registry import fingerprint, list_models, load_plugin, sole_entry

Install = Callable[..., None]
PLUGIN = """
from n6convert.plugin import ModelPlugin
class One(ModelPlugin):
    {body}
    def build(self, request): ...
    def encode(self, sample): ...
"""


def entry_of(name: str) -> object:
    return next(entry for entry in list_models() if entry.name == name)


def test_listing_reads_metadata_and_imports_nothing(distribution: Install) -> None:
    distribution("n6-bomb", {"bomb": "n6_bomb:Bomb"}, {"n6_bomb.py": "raise SystemError('imported')"})
    entry = entry_of("bomb")
    assert (entry.distribution, entry.version, entry.state) == ("n6-bomb", "1.0", "ready")
    assert "n6_bomb" not in sys.modules


def test_plugin_is_loaded_through_stevedore(distribution: Install) -> None:
    distribution("n6-one", {"one": "n6_one:One"}, {"n6_one.py": PLUGIN.format(body="pass")})
    assert load_plugin("one").__name__ == "One"


def test_two_distributions_with_one_name_are_both_named(distribution: Install) -> None:
    for name in ("n6-a", "n6-b"):
        module = name.replace("-", "_")
        distribution(name, {"same": f"{module}:One"}, {f"{module}.py": PLUGIN.format(body="pass")})
    with pytest.raises(PluginError) as caught:
        load_plugin("same")
    assert "n6-a 1.0" in str(caught.value) and "n6-b 1.0" in str(caught.value)
    assert {e.state for e in list_models() if e.name == "same"} == {"duplicate"}


def test_one_distribution_found_twice_on_the_path_is_no_duplicate(
    distribution: Install, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("n6-one", {"twice": "n6_one:One"}, {"n6_one.py": PLUGIN.format(body="pass")})
    monkeypatch.syspath_prepend(str(site / "." / ".." / site.name))
    assert sole_entry("twice").value == "n6_one:One"


def test_import_error_is_shown_with_distribution_and_cause(distribution: Install) -> None:
    distribution("n6-bad", {"bad": "n6_bad:Bad"}, {"n6_bad.py": "import no_such_framework"})
    with pytest.raises(PluginError) as caught:
        load_plugin("bad")
    assert "n6-bad 1.0" in str(caught.value)
    assert "No module named 'no_such_framework'" in str(caught.value)


def test_missing_requirement_is_listed_and_its_remedy_given(distribution: Install) -> None:
    distribution(
        "n6-need", {"need": "n6_need:X"}, {"n6_need.py": "import no_such_framework"}, requires="no-such-framework>=2"
    )
    entry = entry_of("need")
    assert entry.state == "broken" and "no-such-framework>=2" in entry.cause
    with pytest.raises(PluginError, match="pip install 'no-such-framework>=2'"):
        load_plugin("need")


def test_requirement_of_an_optional_extra_is_not_missing(distribution: Install) -> None:
    requires = 'no-such-framework; extra == "big"'
    distribution("n6-opt", {"opt": "n6_opt:X"}, {"n6_opt.py": ""}, requires=requires)
    assert entry_of("opt").state == "ready"


def test_missing_module_is_broken(distribution: Install) -> None:
    distribution("n6-gone", {"gone": "n6_gone:X"}, {})
    assert entry_of("gone").cause == "no module n6_gone"


def test_entry_point_that_is_no_plugin_is_refused(distribution: Install) -> None:
    distribution("n6-not", {"not": "n6_not:thing"}, {"n6_not.py": "thing = 3"})
    with pytest.raises(PluginError, match="not a model plugin"):
        load_plugin("not")


@pytest.mark.parametrize(
    ("version", "upgrade"), [("(2, 0)", "n6convert"), ("(1, 99)", "n6convert"), ("(0, 9)", "n6-old")]
)
def test_other_interface_version_says_what_to_upgrade(distribution: Install, version: str, upgrade: str) -> None:
    module = f"n6_old{abs(hash(version))}"
    body = PLUGIN.format(body=f"api_version = {version}")
    distribution("n6-old", {"old": f"{module}:One"}, {f"{module}.py": body})
    with pytest.raises(PluginError) as caught:
        load_plugin("old")
    assert f"pip install --upgrade {upgrade}" in str(caught.value)
    assert "1.0" in str(caught.value)


def test_unknown_name_suggests_the_nearest(distribution: Install) -> None:
    distribution("n6-one", {"firedetector": "n6_one:One"}, {})
    with pytest.raises(UsageError) as caught:
        sole_entry("firedetektor")
    assert "did you mean firedetector" in str(caught.value)
    assert caught.value.exit_code == 2


def test_family_that_is_not_installed_names_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n6convert.registry._entries", lambda group: [])
    with pytest.raises(UsageError, match="pip install n6convert-tinybert"):
        sole_entry("tinybert")


def test_fingerprint_follows_the_code_without_importing_it(site: Path) -> None:
    package = site / "n6_code"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemError('imported')")
    before = fingerprint("n6_code")
    (package / "more.py").write_text("x = 1")
    assert fingerprint("n6_code") != before
