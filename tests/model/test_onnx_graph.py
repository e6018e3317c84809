"""ONNX graphs are looked through as data before anything runs them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import ModelFileError
from napari_unet.model.onnx_graph import OnnxSession, read_graph

onnx = pytest.importorskip("onnx")
FLOAT = onnx.TensorProto.FLOAT


def graph(*nodes: Any, initializers: Any = (), kind: int = FLOAT, inputs: int = 1) -> Any:
    shape = [1, 1, None, None]
    names = ["image", "other"][:inputs]
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            list(nodes),
            "net",
            [onnx.helper.make_tensor_value_info(name, kind, shape) for name in names],
            [onnx.helper.make_tensor_value_info("result", FLOAT, shape)],
            list(initializers),
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )


def node(kind: str, *inputs: str, out: str = "result", **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, list(inputs), [out], **attributes)


KERNEL = onnx.numpy_helper.from_array(np.full((1, 1, 3, 3), 1 / 9, np.float32), "kernel")


def encoder() -> Any:
    return graph(
        node("Conv", "image", "kernel", out="a", kernel_shape=[3, 3], pads=[1] * 4),
        node("MaxPool", "a", out="b", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "b", "kernel", out="c", kernel_shape=[3, 3], pads=[1] * 4),
        node("Resize", "c", "", "scales", out="d", mode="nearest"),
        node("Sigmoid", "d"),
        initializers=[
            KERNEL,
            onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),
        ],
    )


def test_a_graph_tells_its_step_and_how_far_it_sees() -> None:
    facts = read_graph(encoder().SerializeToString())
    assert (facts.step, facts.input_shape) == (2, (1, 1, None, None))
    # 1 of the first kernel, 1 of the pooling, 2 of the second kernel, 2 of the enlargement
    assert facts.reach == (6, 6)


def test_kernels_are_known_by_their_weights_where_a_graph_does_not_name_their_size() -> None:
    model = encoder()
    for each in model.graph.node:
        if each.op_type == "Conv":
            del each.attribute[[a.name for a in each.attribute].index("kernel_shape")]
    assert read_graph(model.SerializeToString()).reach == (6, 6)


@pytest.mark.parametrize(
    "nodes",
    [
        (node("GlobalAveragePool", "image", out="a"), node("Sub", "image", "a")),
        (node("MatMul", "image", "image"),),
        (node("Softmax", "image", axis=-1),),
    ],
    ids=["mean", "attention", "softmax along X"],
)
def test_a_graph_that_may_look_at_all_of_the_image_is_taken_to_see_all(nodes: Any) -> None:
    assert read_graph(graph(*nodes).SerializeToString()).reach is None


def test_a_graph_runs() -> None:
    image = np.random.default_rng(0).random((1, 1, 12, 8), dtype=np.float32)
    assert OnnxSession(encoder().SerializeToString())(image).shape == image.shape


LOOP = onnx.helper.make_graph([], "body", [], [])


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (graph(node("Attention", "image", domain="com.microsoft")), "'com.microsoft.Attention'"),
        (graph(node("Evil", "image", domain="evil.lib")), "'evil.lib.Evil'"),
        (graph(node("Loop", "image", body=LOOP)), "'Loop'"),
        (graph(node("Identity", "image", then_branch=LOOP)), "holds a graph"),
        (graph(node("Relu", "image"), inputs=2), "2 inputs"),
        (graph(node("Relu", "image"), kind=onnx.TensorProto.DOUBLE), "float32"),
    ],
    ids=["other-library", "own-library", "loop", "inner-graph", "two-images", "float64"],
)
def test_what_no_plain_u_net_needs_is_refused(model: Any, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        read_graph(model.SerializeToString())


@pytest.mark.fault(38)
def sizes(*values: int) -> Any:
    return onnx.numpy_helper.from_array(np.array(values, np.int64), "sizes")


@pytest.mark.fault(57)
@pytest.mark.parametrize("as_node", [False, True], ids=["stored", "node"])
def test_a_constant_of_gigabytes_out_of_a_few_bytes_is_refused(as_node: bool) -> None:
    stored = sizes(1, 1, 32768, 32768)
    named = [node("Constant", out="sizes", value=stored)] if as_node else []
    made = [node("ConstantOfShape", "sizes", out="much"), node("ReduceSum", "much", out="one")]
    model = graph(
        *named, *made, node("Add", "image", "one"), initializers=[] if as_node else [stored]
    )
    assert len(model.SerializeToString()) < 400
    with pytest.raises(ModelFileError, match=r"makes a constant of 1073741824 numbers"):
        read_graph(model.SerializeToString())


@pytest.mark.fault(57)
def test_a_graph_that_computes_a_size_of_gigabytes_takes_no_memory_for_it() -> None:
    """In a process of its own, as onnxruntime's bounds are those of the process."""
    model = graph(
        node("Shape", "image", out="own"),
        node("Mul", "own", "sizes", out="large"),
        node("ConstantOfShape", "large", out="much"),
        node("ReduceSum", "much", out="one"),
        node("Add", "image", "one"),
        initializers=[sizes(1, 1, 4096, 4096)],
    )
    program = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from napari_unet.model.onnx_graph import OnnxSession\n"
        "run = OnnxSession(sys.stdin.buffer.read())\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    run(np.zeros((1, 1, 16, 16), np.float32))\n"
        "except MemoryError:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    pytest.importorskip("resource")
    result = subprocess.run(
        [sys.executable, "-c", program], input=model.SerializeToString(), capture_output=True
    )
    assert int(result.stdout) < 200_000, result.stderr.decode()


def test_weights_in_another_file_are_not_opened() -> None:
    tensor = onnx.TensorProto()
    tensor.CopyFrom(KERNEL)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    model = graph(node("Conv", "image", "kernel", kernel_shape=[3, 3]), initializers=[tensor])
    with pytest.raises(ModelFileError, match="in another file, which is not opened"):
        read_graph(model.SerializeToString())


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"no graph at all"], ids=["", "zeros", "text"])
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError):
        read_graph(data)


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ModelFileError, match=r'pip install "napari-unet-paint\[onnx\]"'):
        read_graph(b"")
