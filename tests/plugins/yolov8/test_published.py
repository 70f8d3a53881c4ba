"""Published facts: parameters of every network as Ultralytics' tables give them, after folding and without training."""

from __future__ import annotations

import pytest
from n6convert_yolov8.architecture import Block, parse_name
from n6convert_yolov8.published import published_architecture, published_widths
from n6convert_yolov8.seeded import empty_parameters

#: fused parameters as the library that publishes them counts them
PARAMETERS = {
    "yolov8n": 3_151_904, "yolov8s": 11_156_544, "yolov8n-seg": 3_404_320, "yolov8n-pose": 3_289_964,
    "yolov8n-obb": 3_080_144, "yolov8n-cls": 2_715_880, "yolov8m-cls": 17_043_656,
    "yolo11n": 2_616_248, "yolo11s": 9_443_760, "yolo11m": 20_091_712, "yolo11n-seg": 2_868_664,
    "yolo11n-pose": 2_866_468, "yolo11n-obb": 2_656_648, "yolo11n-cls": 2_807_024, "yolo11s-seg": 10_097_776,
    "yolo26n": 2_408_932, "yolo26s": 9_496_140, "yolo26m": 20_411_132, "yolo26n-seg": 2_722_980,
    "yolo26n-pose": 2_926_494, "yolo26n-obb": 2_449_332, "yolo26n-cls": 2_807_024, "yolo26s-pose": 10_359_750,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_published_network(name: str) -> None:
    parameters = empty_parameters(name)
    count = sum(c.weight.size + c.bias.size for c in parameters.convs.values())
    bins = parameters.architecture.reg_max if parameters.architecture.task != "classify" else 1
    assert count + (bins if bins > 1 else 0) == PARAMETERS[name]  # the expectation over bins is counted there
    assert set(parameters.convs) == set(published_widths(name, parameters.architecture))


def test_what_tells_the_families_apart() -> None:
    eight, eleven, new = (published_architecture(f"{f}n") for f in ("yolov8", "yolo11", "yolo26"))
    assert (eight.head, eleven.head, new.head) == (22, 23, 23)
    assert (eight.reg_max, eleven.reg_max, new.reg_max) == (16, 16, 1)
    assert (eight.attention, eleven.attention, new.attention) == (0, 1, 1)
    assert (eight.end2end, eleven.end2end, new.end2end) == (False, False, True)
    assert eight.blocks[4] == Block(2) and eleven.blocks[4] == Block(1) and eleven.blocks[6] == Block(1, "c3k")
    assert eleven.blocks[13] == Block(1) and new.blocks[13] == Block(1, "c3k")
    assert eleven.blocks[22] == Block(1, "c3k") and new.blocks[22] == Block(1, "attention")
    assert published_architecture("yolo11m").blocks[2] == Block(1, "c3k")


def test_classifiers_of_the_last_two_families_are_one_network() -> None:
    assert published_architecture("yolo26s-cls") == published_architecture("yolo11s-cls")


def test_names() -> None:
    assert parse_name("yolo26s-obb") == ("yolo26", "s", "obb")
    for wrong in ("yolov5n", "yolo11n-depth", "yolo11", "yolov8n-256"):
        with pytest.raises(ValueError, match="no name of"):
            parse_name(wrong)
