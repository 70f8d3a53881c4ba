"""Weights from the hub: what is trusted, what is refused, and what is remembered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import DownloadError, SourceError
from n6convert.weights.hub import HubModel, fetch_hub
from n6convert.weights.resolution import fetch, resolve
from n6convert.weights.trust import trusting

BIG, SMALL = b"numbers" * 20_000, b'{"model_type": "bert"}'
SHA = hashlib.sha256(BIG).hexdigest()
OTHER = hashlib.sha256(BIG + b"!").hexdigest()
REPOSITORY = "owner/net"
FILES = {"model.bin": BIG, "config.json": SMALL}
COMMIT = "c0ffee" + "0" * 34


def model(commit: str | None = COMMIT) -> HubModel:
    return HubModel(REPOSITORY, ("model.bin", "config.json"), commit, "MIT")


def record(cache: Path) -> dict[str, Any]:
    return dict(json.loads((cache.parent / "weights.lock.json").read_text()))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "root" / "weights"


def test_first_use_is_recorded_and_later_uses_need_no_network(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    first = fetch_hub(model(), cache)
    assert first.path is not None and (first.path / "model.bin").read_bytes() == BIG
    assert first.files == {"model.bin": SHA, "config.json": hashlib.sha256(SMALL).hexdigest()}
    assert first.first_use and "127.0.0.1" in first.trust and COMMIT[:12] in first.trust and "pinned" in first.trust
    assert record(cache)["files"][f"{REPOSITORY}@{COMMIT}/model.bin"] == {"sha256": SHA, "word": "hub"}
    asked = len(local_hub.asked)
    second = fetch_hub(model(), cache)
    assert len(local_hub.asked) == asked and not second.first_use
    assert (second.sha256, second.trust) == (first.sha256, first.trust), "manifests of both runs are equal"


def test_a_single_file_is_a_file(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    found = fetch_hub(HubModel(REPOSITORY, ("model.bin",), COMMIT), cache)
    assert found.path is not None and found.path.is_file() and found.sha256 == SHA


def test_without_a_known_commit_the_first_one_is_kept(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    first = fetch_hub(model(None), cache)
    assert first.origin == f"{REPOSITORY}@{COMMIT}" and "first used commit" in first.trust
    local_hub.commit = "f" * 40
    local_hub.publish(REPOSITORY, {name: content + b" " for name, content in FILES.items()})
    assert fetch_hub(model(None), cache).sha256 == first.sha256, "main moved on, we did not"


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        ({"body": BIG[:-1] + b"!"}, "not the one that the hub declares"),
        ({"body": BIG + b"!"}, "too large"),
        ({"body": BIG[:-9]}, "ended early"),
        ({"size": len(BIG) - 1}, "too large"),
        ({"size": len(BIG) + 1}, "ended early"),
        ({"etag": f'"{OTHER}"'}, "not the one that the hub declares"),
        ({"served": "f" * 40}, "another commit"),
        ({"location": "http://example.invalid/model.bin"}, "leave HTTPS"),
        ({"location": "ftp://127.0.0.1/model.bin"}, "cannot be downloaded"),
    ],
)
def test_what_does_not_agree_is_refused(local_hub: Any, cache: Path, lies: dict[str, object], words: str) -> None:
    local_hub.publish(REPOSITORY, FILES)
    local_hub.lies = lies
    with pytest.raises(DownloadError, match=words) as caught:
        fetch_hub(model(), cache)
    assert "--weights" in str(caught.value) and "hf download owner/net model.bin" in str(caught.value)
    assert not (cache.parent / "weights.lock.json").exists(), "nothing was trusted"
    assert not list(cache.rglob("model.bin"))


def test_a_truncated_download_is_continued(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    local_hub.lies = {"cut": 50_000}
    for _ in range(2):
        with pytest.raises(DownloadError, match="ended early.*|continues"):
            fetch_hub(model(), cache)
    local_hub.lies = {}
    found = fetch_hub(model(), cache)
    ranges = [wanted for method, path, wanted in local_hub.asked if "/storage/" in path]
    assert found.files["model.bin"] == SHA and ranges == [None, "bytes=50000-", "bytes=100000-"]


def test_the_pointer_counts_where_the_hub_declares_no_hash(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    local_hub.lies = {"etag": "W/of-a-cache"}
    assert fetch_hub(HubModel(REPOSITORY, ("model.bin",), COMMIT), cache).sha256 == SHA


def test_small_files_must_be_those_of_the_commit(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    fetch_hub(model(), cache)
    (cache / f"owner--net@{COMMIT}" / "config.json").write_bytes(b"{}")
    assert fetch_hub(model(), cache).files["config.json"] == hashlib.sha256(SMALL).hexdigest(), "fetched again"


def test_redirects_inside_the_hub_are_followed_for_the_declaration(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    local_hub.lies = {"inside": True}
    assert fetch_hub(model(), cache).files["config.json"] == hashlib.sha256(SMALL).hexdigest()
    heads = [path for method, path, _ in local_hub.asked if method == "HEAD" and "config" in path]
    assert [path.split("/")[3] for path in heads] == ["resolve", "cache"]


def test_another_content_than_recorded_is_refused_for_ever(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    found = fetch_hub(model(), cache)
    assert found.path is not None
    for name in FILES:
        (found.path / name).unlink()
    local_hub.publish(REPOSITORY, {"model.bin": BIG + b"!"})
    for _ in range(2):
        with pytest.raises(DownloadError, match="not those that were trusted before") as caught:
            fetch_hub(model(), cache)
        assert SHA in str(caught.value) and OTHER in str(caught.value) and "--trust" in str(caught.value)
    with trusting(f"sha256:{OTHER}"):
        assert fetch_hub(model(), cache).files["model.bin"] == OTHER
    assert record(cache)["files"][f"{REPOSITORY}@{COMMIT}/model.bin"] == {"sha256": OTHER, "word": "user"}
    assert fetch_hub(model(), cache).files["model.bin"] == OTHER


def test_the_users_word_against_the_hub(local_hub: Any, cache: Path) -> None:
    local_hub.publish(REPOSITORY, FILES)
    with trusting(f"sha256:{OTHER}"), pytest.raises(DownloadError, match="not those that were trusted"):
        fetch_hub(model(), cache)
    with trusting(f"sha256:{SHA.upper()}"):
        assert fetch_hub(model(), cache).trust == "the sha256 that --trust names"


def test_offline(local_hub: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local_hub.publish(REPOSITORY, FILES)
    monkeypatch.setenv("N6CONVERT_OFFLINE", "1")
    for wanted in (model(), model(None)):
        with pytest.raises(DownloadError, match="switched off"):
            fetch_hub(wanted, cache)
    with pytest.raises(DownloadError, match="switched off"):
        fetch(f"{local_hub.url}/a/b/storage/c/d.pt", SHA, cache)
    assert not local_hub.asked
    monkeypatch.setenv("N6CONVERT_OFFLINE", "0")
    fetch_hub(model(), cache)
    asked = len(local_hub.asked)
    monkeypatch.setenv("N6CONVERT_OFFLINE", "yes")
    assert fetch_hub(model(), cache).files["model.bin"] == SHA and len(local_hub.asked) == asked
    (cache.parent / "weights.lock.json").unlink()
    with pytest.raises(DownloadError, match="switched off"):
        fetch_hub(model(), cache)


@pytest.mark.parametrize("commit", [COMMIT, None])
def test_a_hub_that_cannot_be_reached_is_no_fault_of_the_plugin(
    commit: str | None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://127.0.0.1:1")
    with pytest.raises(DownloadError, match="cannot be downloaded") as caught:
        fetch_hub(model(commit), cache)
    by_hand = f"fetch it elsewhere with `hf download {REPOSITORY} model.bin --revision {commit or 'main'} "
    assert caught.value.remedy.startswith(by_hand)
    monkeypatch.setenv("N6CONVERT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="switched off") as caught:
        fetch_hub(model(commit), cache)
    assert caught.value.remedy.startswith("run once without N6CONVERT_OFFLINE; or fetch it elsewhere")


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3, "commits": {}}'])
def test_a_damaged_record_is_not_taken_for_an_empty_one(local_hub: Any, cache: Path, text: str) -> None:
    local_hub.publish(REPOSITORY, FILES)
    fetch_hub(model(), cache)
    (cache.parent / "weights.lock.json").write_text(text)
    with pytest.raises(DownloadError, match="record of trusted weights is damaged"):
        fetch_hub(model(), cache)


def test_plain_http_to_another_machine_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.invalid")
    with pytest.raises(DownloadError, match="leave HTTPS"):
        fetch_hub(model(), cache)


def test_no_such_repository(local_hub: Any, cache: Path) -> None:
    with pytest.raises(DownloadError, match="no such public file"):
        fetch_hub(model(), cache)


def test_trust_holds_for_files_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(BIG)
    with trusting(f"sha256:{SHA}"):
        assert "--trust" in resolve(str(path), pytest.fail, seed=0, cache=tmp_path).trust
    with trusting(f"sha256:{OTHER}"):
        for value in (str(path), "seeded"):
            with pytest.raises(SourceError, match="--trust names"):
                resolve(value, pytest.fail, seed=0, cache=tmp_path)
