"""Tells of a compiled graph whether the time of a call depends on the sizes of its inputs only, never on their values.

Only such a model may run on the event loop: a call that takes as long as a number in it says would hold all others,
beyond any time limit. So only operators are passed that are known to be of this kind; a graph with any other one, with
loops and branches first of all, runs in a thread.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

MOST_NODES = 20_000

_Node = tuple[str, list[str], list[str]]
"""Operator, names of its inputs, names of its outputs."""

_ALL, _FIRST, _REST = slice(None), slice(1), slice(1, None)

_Table = Mapping[str, slice]
"""Operator → which of its inputs say how much there is to do, and so must not come from the values."""


def _table(plain: str, *sized: tuple[slice, str]) -> _Table:
    return {name: sizes for sizes, names in ((slice(0), plain), *sized) for name in names.split()}


_BOTH = """
    Shape Size Identity Cast Squeeze Transpose Concat
    Abs Neg Sign Floor Ceil Round Exp Log Sqrt Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Tanh Erf
    Sigmoid Relu Elu Selu LeakyRelu Softplus Softsign Softmax LogSoftmax
    Add Sub Mul Div Pow Greater GreaterEqual Less LessEqual Equal MatMul Einsum ArgMax ArgMin GatherNd Gather
"""

_ONNX = _table(
    _BOTH + """
    Constant Reciprocal IsNaN IsInf HardSigmoid HardSwish Mish PRelu ThresholdedRelu Celu Gelu Clip Hardmax Swish
    Mod Max Min Mean Sum And Or Not Xor GreaterOrEqual LessOrEqual Where CumSum Dropout Flatten Unsqueeze GatherND
    GatherElements Gemm Conv ConvTranspose ConvInteger MatMulInteger QLinearConv QLinearMatMul QuantizeLinear
    DequantizeLinear DynamicQuantizeLinear MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool
    BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization LpNormalization
    MeanVarianceNormalization LRN DepthToSpace SpaceToDepth Trilu EyeLike FusedMatMul FusedGemm FusedConv
    BiasGelu FastGelu QuickGelu SkipLayerNormalization SimplifiedLayerNormalization
    Scaler Normalizer Imputer LinearClassifier LinearRegressor SVMClassifier SVMRegressor Binarizer FeatureVectorizer
    ArrayFeatureExtractor OneHotEncoder ZipMap
    """,
    (_REST, "Reshape Expand Tile Slice Split Pad Resize Upsample OneHot TopK"),
    (_REST, "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2"),
    (_REST, "ReduceSumSquare ReduceLogSum ReduceLogSumExp"),
    (_ALL, "ConstantOfShape Range"),
    (slice(4, 5), "LSTM GRU RNN"),
)  # fmt: skip

_TENSORFLOW = _table(
    _BOTH + """
    Const NoOp IdentityN StopGradient PreventGradient EnsureShape ReadVariableOp Rank ShapeN ExpandDims Pack Unpack
    ConcatV2 Log1p Expm1 Rsqrt Inv Square SquaredDifference Reciprocal Relu6 IsNan IsInf IsFinite
    AddV2 AddN DivNoNan RealDiv FloorDiv FloorMod Maximum Minimum NotEqual LogicalAnd LogicalOr LogicalNot
    Select SelectV2 ClipByValue ZerosLike OnesLike L2Loss BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Split
    Conv2D Conv3D DepthwiseConv2dNative FusedBatchNormV3 MaxPool MaxPool3D AvgPool AvgPool3D DepthToSpace SpaceToDepth
    GatherV2 ResourceGather Cumsum
    """,
    (_REST, "Mean Sum Max Min Prod All Any Reshape Tile BroadcastTo Pad PadV2 MirrorPad"),
    (_REST, "ResizeBilinear ResizeNearestNeighbor OneHot Slice StridedSlice SplitV TopKV2"),
    (_FIRST, "Fill Conv2DBackpropInput"),
    (_ALL, "Range"),
)  # fmt: skip

_TELL_SIZES = ("Shape", "ShapeN", "Size", "Rank")
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


def onnx_is_bounded(path: Path) -> bool:
    """The same of an ONNX file; False for one that cannot be read here."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _by_sizes(*_onnx_graph(data), _ONNX)
    except (OSError, ValueError, IndexError, UnicodeDecodeError):
        return False


def tensorflow_is_bounded(graph: Any) -> bool:
    """The same of the graph of a function that TensorFlow traced."""
    nodes = [
        (op.type, [t.name for t in op.inputs], [t.name for t in op.outputs])
        for op in graph.get_operations()
        if op.type != "Placeholder"
    ]
    return _by_sizes(nodes, (), _TENSORFLOW)


def _by_sizes(nodes: Iterable[_Node], constants: Iterable[str], table: _Table) -> bool:
    """Whether every operator is in the table and what says how much it has to do comes from sizes and constants."""
    known = {"", *constants}
    for count, (operator, inputs, outputs) in enumerate(nodes):
        sizes = table.get(operator)
        if sizes is None or count >= MOST_NODES or not known.issuperset(inputs[sizes]):
            return False
        if operator in _TELL_SIZES or known.issuperset(inputs):
            known.update(outputs)
    return True


# -- the part of ONNX's protocol buffers that tells the nodes --------------------------------------


def _onnx_graph(data: mmap.mmap) -> tuple[list[_Node], list[str]]:
    """The nodes of the main graph in their order, and the names of its constants."""
    nodes: list[_Node] = []
    constants: list[str] = []
    for number, at, end in _fields(data, 0, len(data)):
        if number == 25:
            raise ValueError("it has functions, which hide their nodes")
        if number != 7:
            continue
        for inner, start, stop in _fields(data, at, end):
            if inner == 1:
                nodes.append(_onnx_node(data, start, stop))
            elif inner == 5:
                constants += [data[a:z].decode() for field, a, z in _fields(data, start, stop) if field == 8]
    if not nodes:
        raise ValueError("it has no nodes")
    return nodes, constants


def _onnx_node(data: mmap.mmap, at: int, end: int) -> _Node:
    told: dict[int, list[str]] = {1: [], 2: [], 4: [], 7: []}
    for number, start, stop in _fields(data, at, end):
        if number in told:
            told[number].append(data[start:stop].decode())
    if any(domain not in _DOMAINS for domain in told[7]):
        raise ValueError("it has operators of its own")
    return told[4][-1], told[1], told[2]


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field that has a length."""
    while at < end:
        key, at = _number(data, at)
        kind = key & 7
        if kind == 2:
            length, at = _number(data, at)
            if at + length > end:
                raise ValueError("a field is longer than what holds it")
            yield key >> 3, at, at + length
            at += length
        elif kind == 0:
            _, at = _number(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("no protocol buffer")


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("no number")
