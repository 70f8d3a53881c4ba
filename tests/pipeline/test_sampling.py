"""Which samples calibrate and which judge: apart, complete, and as many as the recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from n6convert.errors import SourceError
from n6convert.pipeline.sampling import Sampling, attributing_to
from n6convert.recipe.schema import Calibration
from n6convert.samples.base import Sample, SampleSource


class Texts(SampleSource):
    """Numbered sentences."""

    name = "texts"

    def __init__(self, count: int, synthetic: bool = True) -> None:
        self.count, self.synthetic = count, synthetic

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(f"s{i}", f"sentence {i}") for i in range(self.count))


def _sampling(embedded: SampleSource | None, judged: str | None = None, /, **section: Any) -> Sampling:
    config = Calibration(**section)
    plugin = SimpleNamespace(
        samples=lambda: embedded, sample_kind="image", info=None, takes_ready_inputs=False, prepare=lambda found: found
    )
    run = SimpleNamespace(
        recipe=SimpleNamespace(calibration=config, evaluation=SimpleNamespace(source=judged), seed=0),
        ready_plugin=plugin, entry=SimpleNamespace(name="toy", module="toy", distribution="toy", value="toy:Toy"),
        encode=lambda sample: {"x": sample.id},
    )  # fmt: skip
    return Sampling(run)  # type: ignore[arg-type]


def _ids(sampling: Sampling, part: str) -> list[str]:
    return [sample.id for sample in sampling.samples(part)]


class Images(Texts):
    """Images of one color each; counts how often they are read."""

    reads = 0

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self.count):
            self.reads += 1
            yield Sample(f"i{index}", np.full((4, 4, 3), index, np.uint8))


@pytest.mark.parametrize(("kept", "reads"), [(1 << 20, 10), (64, 40)], ids=["small", "large"])
def test_small_samples_are_read_once(kept: int, reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n6convert.pipeline.sampling._KEPT_BYTES", kept)
    source = Images(10)
    sampling = _sampling(source, samples=8, held_back=2)
    first = {part: [(s.id, s.sha256) for s in sampling.samples(part)] for part in ("held_back", "calibration")}
    again = {part: [(s.id, s.sha256) for s in sampling.samples(part)] for part in ("held_back", "calibration")}
    assert again == first
    assert source.reads == reads


def test_a_plugin_that_changes_a_sample_changes_no_other_pass() -> None:
    sampling = _sampling(Images(10), samples=8, held_back=2)
    for sample in (*sampling.samples("calibration"), *sampling.samples("calibration")):
        sample.data[:] = 255  # type: ignore[index]
    assert [int(s.data.max()) for s in sampling.samples("calibration")] != [255] * 8  # type: ignore[union-attr]


@settings(max_examples=80)
@given(count=st.integers(1, 120), samples=st.integers(1, 60), held_back=st.integers(0, 60))
def test_parts_are_apart_and_together_what_is_used(count: int, samples: int, held_back: int) -> None:
    sampling = _sampling(Texts(count), samples=samples, held_back=held_back)
    calibration, held = _ids(sampling, "calibration"), _ids(sampling, "held_back")
    used = min(count, samples + held_back)
    assert not set(calibration) & set(held)
    assert sorted(calibration + held) == sorted(f"s{i}" for i in range(used))
    assert len(held) <= held_back and len(calibration) >= 1
    assert (sampling.count("calibration"), sampling.count("held_back")) == (len(calibration), len(held))
    if count >= samples + held_back:
        assert len(held) == held_back
    else:
        assert len(held) <= max(used // 4, used - samples), "a quarter of too few at most"


@pytest.mark.parametrize("held_back", [1, 4, 10])
def test_what_is_held_back_is_spread_over_all(held_back: int) -> None:
    sampling = _sampling(Texts(100), samples=100 - held_back, held_back=held_back)
    places = [int(name[1:]) for name in _ids(sampling, "held_back")]
    gaps = np.diff(places)
    assert len(places) == held_back and np.ptp([*gaps, *gaps[:1]] or [0]) <= 1
    assert abs(places[0] - (99 - places[-1])) <= 1, "as much is left in front as behind"


def test_too_few_to_hold_any_back() -> None:
    sampling = _sampling(Texts(3), samples=3, held_back=8)
    assert _ids(sampling, "held_back") == []
    assert [sample.id for sample in sampling.judging()] == ["s0", "s1", "s2"]
    assert any("too few samples to hold any back" in text for text in sampling.facts()["warnings"])


def test_facts_record_what_was_read_by_its_content() -> None:
    sampling = _sampling(Texts(8, synthetic=False), samples=6, held_back=2)
    assert sampling.facts()["calibration"] == []
    calibration, held = list(sampling.calibration()), list(sampling.held_back())
    facts = sampling.facts()
    assert [entry["id"] for entry in facts["calibration"]] == [feeds["x"] for feeds in calibration]
    assert [entry["id"] for entry in facts["held_back"]] == [feeds["x"] for feeds in held]
    assert facts["held_back"][0]["sha256"] == Sample("other", f"sentence {held[0]['x'][1:]}").sha256
    assert facts["source"] == "texts" and not any("synthetic" in text for text in facts["warnings"])


def test_synthetic_samples_are_said_to_be() -> None:
    assert any("calibration was synthetic (texts)" in text for text in _sampling(Texts(40)).facts()["warnings"])


def test_the_first_few_are_those_of_calibration() -> None:
    sampling = _sampling(Texts(20), samples=15, held_back=5)
    assert [feeds["x"] for feeds in sampling.first(3)] == _ids(sampling, "calibration")[:3]
    assert len(sampling.first(99)) == 15


def test_nothing_to_calibrate_on_is_refused() -> None:
    with pytest.raises(SourceError, match="no calibration samples") as caught:
        _sampling(Texts(0)).source  # noqa: B018  # it is opened by looking
    assert (caught.value.place, caught.value.stage) == ("texts", "calibration samples") and caught.value.remedy


def test_the_first_to_blame_is_named() -> None:
    with pytest.raises(SourceError) as caught, attributing_to("outer"), attributing_to("inner"):
        raise SourceError("broken")
    assert caught.value.stage == "inner"


# files that are judged on --------------------------------------------------------------------------------------------


def _pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        values = np.random.default_rng(ord(name[0]) * 100 + int(name[1:])).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(values).save(folder / f"{name}.png")


def _labeled(folder: Path, names: list[str]) -> str:
    table = folder / "labels.csv"
    table.write_text("file,label\n" + "".join(f"{name}.png,1\n" for name in names))
    return str(table)


@pytest.mark.parametrize(("others", "shared_used"), [(8, 0), (3, 4)])
def test_labeled_images_are_left_to_be_judged_on(others: int, shared_used: int, tmp_path: Path) -> None:
    """Where others are too few, every second labeled one calibrates."""
    labeled, free = [f"a{i}" for i in range(8)], [f"b{i}" for i in range(others)]
    _pictures(tmp_path, labeled + free)
    sampling = _sampling(None, _labeled(tmp_path, labeled), source=str(tmp_path), samples=6, held_back=2)
    seen = {*_ids(sampling, "calibration"), *_ids(sampling, "held_back")}
    assert {name for name in seen if name.startswith("b")} == {f"{name}.png" for name in free}
    shared = {name for name in seen if name.startswith("a")}
    assert shared <= {"a0.png", "a2.png", "a4.png", "a6.png"} and len(shared) == shared_used


def test_without_labels_all_images_calibrate(tmp_path: Path) -> None:
    _pictures(tmp_path, [f"a{i}" for i in range(5)])
    sampling = _sampling(None, source=str(tmp_path), samples=4, held_back=1)
    assert len(_ids(sampling, "calibration")) + len(_ids(sampling, "held_back")) == 5


def test_the_key_follows_files_and_section_and_decodes_nothing(tmp_path: Path) -> None:
    _pictures(tmp_path, ["a0", "a1", "a2"])
    keys = [_sampling(None, source=str(tmp_path), samples=n, held_back=1).key() for n in (2, 2, 1)]
    assert keys[0] == keys[1] != keys[2]
    _pictures(tmp_path, ["a3"])
    (tmp_path / "a2.png").write_bytes(b"no picture any more")
    assert _sampling(None, source=str(tmp_path), samples=2, held_back=1).key() != keys[0]
    assert _sampling(Texts(3)).key()["seed"] == 0
