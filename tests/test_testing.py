"""The contract kit finds what is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from n6convert.errors import PluginError
from n6convert.testing import check_plugin

BREAKS = {
    "two builds from one seed differ": "    def build(self, request):\n"
    "        from dataclasses import replace\n"
    "        return super().build(replace(request, seed=__import__('random').getrandbits(32)))\n",
    "samples() gives others the second time": "    def samples(self):\n"
    "        class Other(type(super().samples())):\n"
    "            def __iter__(self):\n"
    "                for s in super().__iter__():\n"
    "                    yield type(s)(s.id, {'x': s.data['x'] + __import__('random').random()})\n"
    "        return Other()\n",
    "encode() gives other arrays the second time": "    def encode(self, sample):\n"
    "        return {'x': sample.data['x'] + __import__('numpy').float32(__import__('random').random())}\n",
    "augment() gives another sample": "    def augment(self, sample, draw):\n"
    "        return type(sample)(sample.id, {'x': sample.data['x'] + __import__('random').random()})\n",
    "training_loss() must return": "    def samples(self):\n"
    "        class Labeled(type(super().samples())):\n"
    "            def __iter__(self):\n"
    "                return (type(s)(s.id, s.data, label=1) for s in super().__iter__())\n"
    "        return Labeled()\n"
    "    def training_loss(self, outputs, sample):\n        return 3.0\n",
    "draw() must return": "    def draw(self, sample, *predictions):\n        return 'picture'\n",
    "no such weights": "    def resolve_weights(self, weights, *, cache):\n        raise KeyError(weights)\n",
}


def test_a_sane_plugin_keeps_the_contract(toy: Path) -> None:
    assert "a whole conversion with seeded weights is accepted" in check_plugin("toy")


@pytest.mark.parametrize("message", BREAKS)
def test_a_broken_plugin_is_told_how(
    toy: Path, distribution: Callable[..., None], site: Path, request: pytest.FixtureRequest, message: str
) -> None:
    module = f"n6_broken_{abs(hash(request.node.name))}"
    code = f"from n6_toy import Toy\nclass Broken(Toy):\n{BREAKS[message]}"
    distribution("n6-broken", {"broken": f"{module}:Broken"}, {f"{module}.py": code})
    with pytest.raises(PluginError) as caught:
        check_plugin("broken", convert=False)
    assert message in str(caught.value)


def test_a_plugin_that_imports_a_framework_is_told(toy: Path, distribution: Callable[..., None], site: Path) -> None:
    (site / "torch.py").write_text("")
    distribution(
        "n6-heavy",
        {"heavy": "n6_heavy:Heavy"},
        {"n6_heavy.py": "import torch\nfrom n6_toy import Toy\nclass Heavy(Toy):\n    pass\n"},
    )
    with pytest.raises(PluginError, match="imports torch"):
        check_plugin("heavy", convert=False)
