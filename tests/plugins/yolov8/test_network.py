"""The network from real and made-up weights, in every form it can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_yolov8.architecture import Architecture
from n6convert_yolov8.decode import decode_head
from n6convert_yolov8.head import KINDS
from n6convert_yolov8.network import build_network
from n6convert_yolov8.parameters import load_parameters, seeded_parameters

from n6convert.errors import SourceError
from n6convert.numerics import Session, max_relative_difference, run_model
from n6convert.samples.synthetic import dead_leaves

torch = pytest.importorskip("torch")


def image(*size: int) -> np.ndarray:
    return (dead_leaves(size, (0, 1)).transpose(2, 0, 1)[None] / 255).astype(np.float32)


def published(size: str, keypoints: tuple[int, int] | None = None) -> dict[str, Any]:
    """A state dict with BatchNorm and the names of Ultralytics checkpoints, made from seeded weights."""
    rng = np.random.default_rng(0)
    state: dict[str, Any] = {}
    for name, conv in seeded_parameters(size, 0, keypoints).convs.items():
        if name.startswith("22.") and name.endswith(".2"):
            state |= {f"model.{name}.weight": conv.weight, f"model.{name}.bias": conv.bias}
            continue
        count = len(conv.bias)
        variance, gamma = rng.uniform(0.5, 2, count), rng.uniform(0.5, 2, count)
        mean = rng.normal(0, 0.2, count)
        scale = gamma / np.sqrt(variance + 1e-3)
        state[f"model.{name}.conv.weight"] = conv.weight / scale[:, None, None, None]
        state |= {f"model.{name}.bn.weight": gamma, f"model.{name}.bn.bias": conv.bias + mean * scale}
        state |= {f"model.{name}.bn.running_mean": mean, f"model.{name}.bn.running_var": variance}
    state["model.22.dfl.conv.weight"] = np.arange(16.0).reshape(1, 16, 1, 1)
    return {n: torch.tensor(np.asarray(a, np.float32)) for n, a in state.items()}


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
    for keypoints, size in ((None, (96, 160)), ((17, 3), (128, 64)), ((5, 2), (64, 64))):
        parameters = seeded_parameters("n", 1, keypoints)
        x = {"images": image(*size)}
        cut = run_model(build_network(parameters, size), x)
        full = run_model(build_network(parameters, size, head="full"), x)
        a, b = decode_head(cut, size, keypoints), decode_head(full, size, keypoints)
        assert max_relative_difference(b.boxes, a.boxes) < 1e-4
        assert np.abs(a.scores - b.scores.clip(*np.array([0.00091, 0.9933]))).max() < 1e-4
        if keypoints is not None:
            assert a.keypoints is not None and b.keypoints is not None
            assert max_relative_difference(b.keypoints, a.keypoints) < 1e-4


def test_channel_last_input_is_the_same_function() -> None:
    parameters, x = seeded_parameters("n", 0, None), image(64, 64)
    nchw = run_model(build_network(parameters, (64, 64)), {"images": x})
    model = build_network(parameters, (64, 64), channels_last=True)
    nhwc = run_model(model, {"images": np.ascontiguousarray(x.transpose(0, 2, 3, 1))})
    assert list(model.graph.inputs[0].shape) == [1, 64, 64, 3]
    assert all(np.array_equal(nchw[n], nhwc[n]) for n in nchw)


def test_operators_and_versions_suit_the_npu() -> None:
    model = build_network(seeded_parameters("n", 0, (17, 3)), (64, 96))
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
    assert names == [f"{kind}_{s}" for s in (8, 16, 32) for kind in KINDS]


def test_box_logits_are_centred() -> None:
    """Softmax does not see the mean of the bins: it is folded away, so the INT8 range is smaller."""
    outputs = run_model(build_network(seeded_parameters("n", 0, None), (64, 64)), {"images": image(64, 64)})
    sides = outputs["boxes_8"].reshape(4, 16, -1)
    assert np.abs(sides.mean(1)).max() < 1e-4 < np.abs(sides).max()


@pytest.mark.parametrize(("size", "keypoints"), [("n", None), ("s", (17, 3)), ("m", None)])
def test_shape_is_read_from_the_checkpoint(tmp_path: Path, size: str, keypoints: tuple[int, int] | None) -> None:
    torch.save(published(size, keypoints), tmp_path / "w.pt")
    read, seeded = load_parameters(tmp_path / "w.pt"), seeded_parameters(size, 0, keypoints)
    assert read.architecture == seeded.architecture == Architecture.of_size(size, keypoints=keypoints)
    assert read.convs.keys() == seeded.convs.keys()
    for name, conv in seeded.convs.items():
        assert np.allclose(read.convs[name].weight, conv.weight, atol=1e-5), name
        assert np.allclose(read.convs[name].bias, conv.bias, atol=1e-4), name


def test_peoples_own_classes_prefixes_and_fused_weights(tmp_path: Path) -> None:
    """A fine-tuned network: three classes, wrapped names, BatchNorm folded already, as .pt and .safetensors."""
    from safetensors.torch import save_file

    seeded = seeded_parameters("n", 0, None)
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
        (lambda s: s | {"model.22.proto.cv1.conv.weight": torch.zeros(1, 1, 1, 1)}, "segmentation"),
        (lambda s: s | {"model.5.conv.weight": s["model.5.conv.weight"] * np.nan}, "NaN"),
        (lambda s: {"fc.weight": torch.zeros(2, 2)}, "fc.weight"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    torch.save(change(published("n")), tmp_path / "w.pt")
    with pytest.raises(SourceError, match=words) as caught:
        load_parameters(tmp_path / "w.pt")
    assert "w.pt" in str(caught.value)


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
    state = published("n")
    torch.save({"model": as_module(state, 2.0), "ema": as_module(state, 1.0), "epoch": 4}, tmp_path / "both.pt")
    torch.save({"model": as_module(state, 2.0), "ema": None}, tmp_path / "raw.pt")
    both, raw = (load_parameters(tmp_path / name).convs["22.cv2.0.2"].bias for name in ("both.pt", "raw.pt"))
    averaged = state["model.22.cv2.0.2.bias"].numpy()
    assert np.array_equal(both, averaged) and np.array_equal(raw, 2 * averaged)


def test_seeded_weights_are_the_same_everywhere() -> None:
    """Pinned values: integers of PCG64 mapped by integer arithmetic; a change of numpy must not change them."""
    first = seeded_parameters("n", 0, None).convs["0"]
    assert first.weight[0, 0, 0].tolist() == pytest.approx(PINNED, abs=0)
    assert seeded_parameters("n", 1, None).convs["0"].weight[0, 0, 0, 0] != first.weight[0, 0, 0, 0]


PINNED = [0.23622910678386688, -0.34741997718811035, -0.03683474287390709]


@pytest.mark.parametrize(("size", "keypoints"), [("n", None), ("m", (17, 3))])
def test_seeded_activations_keep_unit_variance(size: str, keypoints: tuple[int, int] | None) -> None:
    model = build_network(seeded_parameters(size, 0, keypoints), (128, 128))
    inner = [n.outputs[0] for n in model.graph if n.op_type == "Conv" and not n.outputs[0].is_graph_output()]
    model.graph.outputs.extend(inner)
    outputs = Session(model).run({"images": image(128, 128)})
    spread = [float(outputs[v.name or ""].std()) for v in inner]
    assert min(spread) > 0.3 and max(spread) < 3
    assert isinstance(model, ir.Model)
