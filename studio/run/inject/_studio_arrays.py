"""Arrays of any library as numpy's, by the numpy that the script has; nothing here imports it for one that has none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_array(value: Any) -> bool:
    """Whether it has a type and a shape."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def is_tensor(value: Any) -> bool:
    """Whether it is PyTorch's, which counts channels first."""
    return hasattr(value, "detach") and hasattr(value, "cpu")


def numpy_array(value: Any) -> Any:
    """The numbers as a numpy array; tensors of torch leave their device and their gradient."""
    import numpy

    if is_tensor(value):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    array = numpy.asarray(value)
    if array.dtype.kind == "V" or str(array.dtype) in ("bfloat16", "float16"):
        array = array.astype("float32")
    if array.dtype.kind not in "buif":
        raise TypeError(f"an array of real numbers is needed, not of {array.dtype}")
    return array
