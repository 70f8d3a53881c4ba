"""Our networks against the library that defines them, on the same random weights: checkpoints and exports.

Needs ultralytics, which is no dependency: install it beside torch and run this file alone. Networks are made from its
own definitions, with normalization statistics drawn at random, saved as it saves them, and read here as arrays.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from n6convert_yolov8.architecture import parse_name
from n6convert_yolov8.decode import Candidates, HeadFacts, decode_head
from n6convert_yolov8.network import build_network
from n6convert_yolov8.onnx_source import ForeignNetwork
from n6convert_yolov8.parameters import load_parameters

from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics", reason="ultralytics is not installed: the comparison with it is for development")

SIZE = (96, 128)
FAMILIES, TASKS = ("yolov8", "yolo11", "yolo26"), ("", "-seg", "-pose", "-obb", "-cls")
NAMES = [f"{family}n{task}" for family in FAMILIES for task in TASKS] + ["yolo11s-seg", "yolo26s"]
CLASSES = {"": 80, "-seg": 80, "-pose": 1, "-obb": 15, "-cls": 1000}


@functools.cache
def network(name: str) -> Any:
    """A network of the library with random statistics and biases that make scores of every size."""
    from ultralytics.nn import tasks

    task = name[len("yolov8n") :]
    kind = {"": "Detection", "-seg": "Segmentation", "-pose": "Pose", "-obb": "OBB", "-cls": "Classification"}[task]
    more = {"data_kpt_shape": (17, 3)} if task == "-pose" else {}
    torch.manual_seed(len(name))
    model = getattr(tasks, f"{kind}Model")(f"{name}.yaml", nc=CLASSES[task], verbose=False, **more)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.7, 1.5)
            module.bias.data.normal_(0, 0.2)
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 1)
    model.names = {i: f"thing {i}" for i in range(CLASSES[task])}
    return model.eval()


def facts(name: str) -> HeadFacts:
    family, _, task = parse_name(name)
    return HeadFacts((17, 3) if task == "pose" else None, task == "obb", task == "obb" and family == "yolo26")


class Anchors(torch.nn.Module):
    """What a network answers for every anchor, before any selection; optionally normalized as for ST Edge AI."""

    def __init__(self, name: str, *, normalized: bool = False, end2end: bool = False) -> None:
        super().__init__()
        self.model, self.normalized, self.name = copy.deepcopy(network(name)), normalized, name
        head = self.model.model[-1]
        head.export = True
        if hasattr(head, "reg_max"):
            head.end2end = end2end
            if end2end:
                head.postprocess = lambda y: y.permute(0, 2, 1)

    def forward(self, x: Any) -> Any:
        found = self.model(x)
        first, *rest = found if isinstance(found, tuple) else (found,)
        if self.normalized and first.ndim == 3:
            scale = torch.ones(first.shape[1])
            scale[:4] = torch.tensor([1 / SIZE[1], 1 / SIZE[0]] * 2)
            if self.name.endswith("pose"):
                scale[5:] = torch.tensor([1 / SIZE[1], 1 / SIZE[0], 1] * 17)
            first = first * scale[None, :, None]
        return (first, *rest)


def image() -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, *SIZE), np.float32)


def theirs(name: str, end2end: bool) -> dict[str, np.ndarray]:
    with torch.no_grad():
        outputs = [o.numpy() for o in Anchors(name, end2end=end2end)(torch.tensor(image()))]
    if end2end and not name.endswith("obb"):  # corners there, center and size everywhere else
        low, high = outputs[0][:, :2].copy(), outputs[0][:, 2:4].copy()
        outputs[0][:, :2], outputs[0][:, 2:4] = (low + high) / 2, high - low
    return {f"o{i}": o for i, o in enumerate(outputs)}


def assert_equal(a: Candidates, b: Candidates) -> None:
    compared = 0
    for part in ("boxes", "scores", "keypoints", "coefficients", "prototypes", "angles"):
        mine, other = getattr(a, part), getattr(b, part)
        assert (mine is None) == (other is None), part
        if mine is not None:
            assert max_relative_difference(other, mine) < 1e-4, part
            assert np.ptp(other) > 0.01
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints(name: str, tmp_path: Path) -> None:
    torch.save({"epoch": -1, "model": network(name), "ema": None, "train_args": {}}, tmp_path / "w.pt")
    both = name.startswith("yolo26") and not name.endswith("cls")
    for end2end in (True, False) if both else (False,):
        parameters = load_parameters(tmp_path / "w.pt", end2end=end2end)
        assert parameters.classes and parameters.classes[0] == "thing 0"
        full = run_model(build_network(parameters, SIZE, head="full"), {"images": image()})
        other = theirs(name, end2end)
        if name.endswith("cls"):
            assert max_relative_difference(other["o0"], full["probabilities"]) < 1e-4
            continue
        assert_equal(decode_head(full, SIZE, facts(name)), decode_head(other, SIZE, facts(name)))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("yolov8n", "anchors"), ("yolo11n", "normalized"), ("yolo11n-seg", "normalized"), ("yolo11n-pose", "anchors"),
        ("yolov8n-obb", "normalized"), ("yolo11n-cls", "anchors"), ("yolo26n", "answers"), ("yolo26n", "normalized"),
        ("yolo26n-pose", "answers"), ("yolo26n-obb", "answers"), ("yolo26n-seg", "answers"),
    ],
)  # fmt: skip
def test_exports(name: str, form: str, tmp_path: Path) -> None:
    """The library's own forms: every anchor, normalized as for ST Edge AI, or an end-to-end head's best answers."""
    if form == "answers":
        model = copy.deepcopy(network(name))
        head = model.model[-1]
        head.export, head.end2end, head.max_det = True, True, 50
    else:
        model = Anchors(name, normalized=form == "normalized")
    path = tmp_path / "a.onnx"
    torch.onnx.export(model, (torch.tensor(image()),), str(path), opset_version=18, dynamo=False)
    family, _, task = parse_name(name)
    found = ForeignNetwork(path, task, family)
    assert found.parameters is not None, found.reason
    assert found.end2end == (form == "answers")
    last = f"{found.parameters.architecture.head}.cv3.2.2" if task != "classify" else "10.linear"
    branch = "one2one_cv3" if form == "answers" else "cv3"
    original = network(name).state_dict()[
        "model.10.linear.weight" if task == "classify" else f"model.{last.replace('cv3', branch)}.weight"
    ]
    assert np.array_equal(found.parameters.convs[last].weight.ravel(), original.numpy().ravel())
