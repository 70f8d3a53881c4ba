"""The network from real and made-up weights, in every form it can be asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_yolov8.decode import HeadFacts, decode_head
from n6convert_yolov8.network import build_network
from n6convert_yolov8.parameters import load_parameters
from n6convert_yolov8.published import published_architecture
from n6convert_yolov8.seeded import seeded_parameters

from n6convert.errors import SourceError
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import Session, run_model
from n6convert.samples.synthetic import dead_leaves

torch = pytest.importorskip("torch")


def image(*size: int) -> np.ndarray:
    return (dead_leaves(size, (0, 1)).transpose(2, 0, 1)[None] / 255).astype(np.float32)


#: layers without normalization
PLAIN = re.compile(r"\d+\.(cv[234]\.\d\.2|cv4_kpts\.\d|proto\.upsample|linear)")


def published(name: str, keypoints: tuple[int, int] | None = None) -> dict[str, Any]:
    """A state dict with BatchNorm and the names of Ultralytics checkpoints, made from seeded weights."""
    rng = np.random.default_rng(0)
    state: dict[str, Any] = {}
    parameters = seeded_parameters(name, 0, keypoints=keypoints)
    for layer, conv in parameters.convs.items():
        weight = conv.weight[..., 0, 0] if layer.endswith("linear") else conv.weight
        if PLAIN.fullmatch(layer):
            state |= {f"model.{layer}.weight": weight, f"model.{layer}.bias": conv.bias}
            continue
        count = len(conv.bias)
        variance, gamma = rng.uniform(0.5, 2, count), rng.uniform(0.5, 2, count)
        mean = rng.normal(0, 0.2, count)
        scale = gamma / np.sqrt(variance + 1e-3)
        state[f"model.{layer}.conv.weight"] = weight / scale[:, None, None, None]
        state |= {f"model.{layer}.bn.weight": gamma, f"model.{layer}.bn.bias": conv.bias + mean * scale}
        state |= {f"model.{layer}.bn.running_mean": mean, f"model.{layer}.bn.running_var": variance}
    if parameters.architecture.reg_max > 1:
        state[f"model.{parameters.architecture.head}.dfl.conv.weight"] = np.arange(16.0).reshape(1, 16, 1, 1)
    return {n: torch.tensor(np.asarray(a, np.float32)) for n, a in state.items()}


def with_both_heads(state: dict[str, Any], head: int) -> dict[str, Any]:
    """What YOLO26 checkpoints hold: the given head as the one that answers, another one, and parts for training."""
    branch = re.compile(rf"model\.{head}\.(cv\d.*)")
    own = {f"model.{head}.one2one_{m.group(1)}": t for n, t in state.items() if (m := branch.fullmatch(n))}
    other = {n: t * 2 for n, t in state.items() if branch.fullmatch(n)}
    more = {f"model.{head}.flow_model.s.0.0.weight": torch.ones(64, 2)}
    more |= {f"model.{head}.cv4_sigma.0.weight": torch.ones(34, 85, 1, 1)}
    more |= {f"model.{head}.one2one_cv4_sigma.0.weight": torch.ones(34, 85, 1, 1)}
    return state | other | own | more


def test_equals_the_published_graph(data_dir: Path) -> None:
    parameters = load_parameters(data_dir / "weights" / "yolov8n_fp32.pt")
    x = image(640, 640)
    ours = run_model(build_network(parameters, (640, 640), head="full"), {"images": x})["output0"]
    reference = data_dir / "weights" / "yolov8n_640_coco80_float.onnx"
    theirs = run_model(reference, {"input": np.ascontiguousarray(x.transpose(0, 2, 3, 1))})["Identity"]
    assert ours.shape == theirs.shape == (1, 84, 8400)
    assert np.abs(ours - theirs).max() < 1e-4


def test_half_precision_checkpoint(data_dir: Path) -> None:
    """The fp16 file: same network, scores within what fp16 rounding of the weights costs."""
    x = {"images": image(320, 320)}
    half, full = (
        run_model(build_network(load_parameters(data_dir / "weights" / n), (320, 320), head="full"), x)["output0"]
        for n in ("yolov8n.pt", "yolov8n_fp32.pt")
    )
    assert 0 < np.abs(half - full)[:, 4:].max() < 0.05


def test_cut_and_full_heads_agree() -> None:
    """Decoding on the host gives what the full head computes inside, for detection, pose and uneven sizes."""
    cases = [("yolov8n", None), ("yolov8n-pose", (17, 3)), ("yolov8n-pose", (5, 2)), ("yolo11n-seg", None)]
    cases += [("yolo11n-obb", None), ("yolo26n", None), ("yolo26n-pose", (17, 3)), ("yolo26n-obb", None)]
    for (name, keypoints), size in zip(cases, [(96, 160), (128, 64), (64, 64)] * 3, strict=False):
        parameters = seeded_parameters(name, 1, keypoints=keypoints)
        oriented, radians = name.endswith("obb"), name == "yolo26n-obb"
        x = {"images": image(*size)}
        cut = run_model(build_network(parameters, size), x)
        full = run_model(build_network(parameters, size, head="full"), x)
        facts = HeadFacts(keypoints, oriented, radians)
        a, b = decode_head(cut, size, facts), decode_head(full, size, facts)
        assert max_relative_difference(b.boxes, a.boxes) < 1e-4
        assert np.abs(a.scores - b.scores.clip(*np.array([0.00091, 0.9933]))).max() < 1e-4
        for part in ("keypoints", "coefficients", "prototypes", "angles"):
            mine, other = getattr(a, part), getattr(b, part)
            assert (mine is None) == (other is None)
            assert mine is None or max_relative_difference(other, mine) < 1e-4
        found = [k for k in ("keypoints", "coefficients", "angles") if getattr(a, k) is not None]
        task = parameters.architecture.task
        assert found == {"pose": ["keypoints"], "segment": ["coefficients"], "obb": ["angles"]}.get(task, [])


def test_channel_last_input_is_the_same_function() -> None:
    parameters, x = seeded_parameters("yolov8n", 0), image(64, 64)
    nchw = run_model(build_network(parameters, (64, 64)), {"images": x})
    model = build_network(parameters, (64, 64), channels_last=True)
    nhwc = run_model(model, {"images": np.ascontiguousarray(x.transpose(0, 2, 3, 1))})
    assert list(model.graph.inputs[0].shape) == [1, 64, 64, 3]
    assert all(np.array_equal(nchw[n], nhwc[n]) for n in nchw)


def test_operators_and_versions_suit_the_npu() -> None:
    model = build_network(seeded_parameters("yolov8n-pose", 0), (64, 96))
    assert model.ir_version == 8 and model.opset_imports[""] == 13
    assert {n.op_type for n in model.graph} == {
        "Conv",
        "Sigmoid",
        "Mul",
        "Split",
        "Concat",
        "Add",
        "MaxPool",
        "Resize",
        "Clip",
    }
    assert all(isinstance(d, int) for n in model.graph for v in n.outputs for d in v.shape)
    for node in model.graph:
        if node.op_type == "Resize":
            wanted = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            assert all(node.attributes.get_string(k) == v for k, v in wanted.items())
        if node.op_type == "Split":
            assert len({v.shape[1] for v in node.outputs}) == 1
    names = [o.name for o in model.graph.outputs]
    assert names == [f"{kind}_{s}" for s in (8, 16, 32) for kind in ("boxes", "scores", "keypoints", "visibility")]


def test_box_logits_are_centered() -> None:
    """Softmax does not see the mean of the bins: it is folded away, so the INT8 range is smaller."""
    outputs = run_model(build_network(seeded_parameters("yolov8n", 0), (64, 64)), {"images": image(64, 64)})
    sides = outputs["boxes_8"].reshape(4, 16, -1)
    assert np.abs(sides.mean(1)).max() < 1e-4 < np.abs(sides).max()


@pytest.mark.parametrize(
    ("name", "keypoints"),
    [
        ("yolov8n", None), ("yolov8s-pose", (17, 3)), ("yolov8n-cls", None), ("yolo11n-seg", None),
        ("yolo11n-obb", None), ("yolo26n-pose", (17, 3)), ("yolo26n-seg", None),
    ],
)  # fmt: skip
def test_shape_is_read_from_the_checkpoint(tmp_path: Path, name: str, keypoints: tuple[int, int] | None) -> None:
    seeded = seeded_parameters(name, 0, keypoints=keypoints)
    state = published(name, keypoints)
    if name.startswith("yolo26"):
        state = with_both_heads(state, seeded.architecture.head)
    torch.save(state, tmp_path / "w.pt")
    read = load_parameters(tmp_path / "w.pt")
    assert read.architecture == seeded.architecture == published_architecture(name, keypoints=keypoints)
    assert read.convs.keys() == seeded.convs.keys()
    for layer, conv in seeded.convs.items():
        assert np.allclose(read.convs[layer].weight, conv.weight, atol=1e-5), layer
        assert np.allclose(read.convs[layer].bias, conv.bias, atol=1e-4), layer


def test_the_other_head_of_an_end_to_end_network(tmp_path: Path) -> None:
    state = with_both_heads(published("yolo26n"), 23)
    torch.save(state, tmp_path / "w.pt")
    one, many = (load_parameters(tmp_path / "w.pt", end2end=e) for e in (True, False))
    assert one.architecture.end2end and not many.architecture.end2end
    last = "23.cv3.1.2"
    assert np.array_equal(one.convs[last].weight * 2, many.convs[last].weight)
    assert one.convs.keys() == many.convs.keys()
    assert np.array_equal(one.convs["22.cv2"].weight, many.convs["22.cv2"].weight)


def test_peoples_own_classes_prefixes_and_fused_weights(tmp_path: Path) -> None:
    """A fine-tuned network: three classes, wrapped names, BatchNorm folded already, as .pt and .safetensors."""
    from safetensors.torch import save_file

    seeded = seeded_parameters("yolov8n", 0)
    state = {}
    for name, conv in seeded.convs.items():
        weight, bias = conv.weight, conv.bias
        if name.startswith("22.cv3.") and name.endswith(".2"):
            weight, bias = weight[:3], bias[:3]
        inner = name if name.startswith("22.") and name.endswith(".2") else f"{name}.conv"
        state |= {f"model.model.{inner}.weight": torch.tensor(weight), f"model.model.{inner}.bias": torch.tensor(bias)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"state_dict": state, "epoch": 9}, tmp_path / "w.pt")
    first, second = load_parameters(tmp_path / "w.safetensors"), load_parameters(tmp_path / "w.pt")
    assert first.architecture.classes == second.architecture.classes == 3
    assert all(np.array_equal(first.convs[n].weight, second.convs[n].weight) for n in seeded.convs)
    assert run_model(build_network(first, (64, 64)), {"images": image(64, 64)})["scores_8"].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if not k.startswith("model.22.cv2")}, "not those of a YOLOv8"),
        (lambda s: {k: v for k, v in s.items() if ".0.conv.weight" not in k}, "no layer"),
        (lambda s: s | {"model.22.cv2.3.2.weight": torch.zeros(64, 64, 1, 1)}, "this one has more"),
        (lambda s: {k.replace(".4.m.", ".4.n."): v for k, v in s.items()}, "without 4.m.0"),
        (lambda s: {k: v for k, v in s.items() if ".15.m.0.cv2" not in k}, "no layer 15.m.0.cv2"),
        (lambda s: s | {"model.16.conv.weight": s["model.16.conv.weight"][:, 1:]}, "do not fit each other"),
        (lambda s: s | {"model.5.conv.weight": s["model.5.conv.weight"] * np.nan}, "NaN"),
        (lambda s: {"fc.weight": torch.zeros(2, 2)}, "fc.weight"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    torch.save(change(published("yolov8n")), tmp_path / "w.pt")
    with pytest.raises(SourceError, match=words) as caught:
        build_network(load_parameters(tmp_path / "w.pt"), (64, 64))
    assert "w.pt" in str(caught.value) or "layer" in str(caught.value)


def as_module(state: dict[str, Any], factor: float) -> Any:
    """A torch module whose state dict is the given one times a factor."""
    root = torch.nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_buffer(last, tensor * factor)
    return root


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    """A training checkpoint: the raw weights and their running average, both as pickled modules."""
    state = published("yolov8n")
    torch.save({"model": as_module(state, 2.0), "ema": as_module(state, 1.0), "epoch": 4}, tmp_path / "both.pt")
    torch.save({"model": as_module(state, 2.0), "ema": None}, tmp_path / "raw.pt")
    both, raw = (load_parameters(tmp_path / name).convs["22.cv2.0.2"].bias for name in ("both.pt", "raw.pt"))
    averaged = state["model.22.cv2.0.2.bias"].numpy()
    assert np.array_equal(both, averaged) and np.array_equal(raw, 2 * averaged)


def test_seeded_weights_are_the_same_everywhere() -> None:
    """Pinned values: integers of PCG64 mapped by integer arithmetic; a change of numpy must not change them."""
    first = seeded_parameters("yolov8n", 0).convs["0"]
    assert first.weight[0, 0, 0].tolist() == pytest.approx(PINNED, abs=0)
    assert seeded_parameters("yolov8n", 1).convs["0"].weight[0, 0, 0, 0] != first.weight[0, 0, 0, 0]


PINNED = [0.23622910678386688, -0.34741997718811035, -0.03683474287390709]


@pytest.mark.parametrize("name", ["yolov8n", "yolov8m-pose", "yolo11n-seg", "yolo26n-obb", "yolo26s-cls"])
def test_seeded_activations_keep_unit_variance(name: str) -> None:
    model = build_network(seeded_parameters(name, 0), (128, 128))
    inner = [n.outputs[0] for n in model.graph if n.op_type == "Conv" and not n.outputs[0].is_graph_output()]
    model.graph.outputs.extend(inner)
    outputs = Session(model).run({"images": image(128, 128)})
    spread = {str(v.name): float(outputs[v.name or ""].std()) for v in inner if v.shape[2] > 1 and v.shape[1] > 1}
    assert min(spread.values()) > 0.3 and max(spread.values()) < 3, spread
    assert isinstance(model, ir.Model)
