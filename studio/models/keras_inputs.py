"""What a Keras model's own layers tell of the inputs that they take: tokens, vocabularies, ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .probe import Domain


def domains(model: Any) -> list[list[Domain]]:
    """For each input of the model what the first telling layers behind it take; empty lists where none tells."""
    try:
        return [_behind(model, tensor) for tensor in model.inputs]
    except Exception:  # noqa: BLE001 - a model whose graph is hidden tells nothing; general draws are left
        return []


def _behind(model: Any, tensor: Any) -> list[Domain]:
    """The domains of the layers that the tensor reaches, nearest first, each with what all of one kind allow."""
    layers = list(_reached(model, tensor)) or list(model._flatten_layers())
    found = [domain for layer in layers if (domain := _of_layer(layer)) is not None]
    tokens = [domain for domain in found if not domain.choices]
    narrowest = min(tokens, key=lambda d: d.high, default=None)
    return [*([narrowest] if narrowest is not None else []), *[domain for domain in found if domain.choices]]


def _reached(model: Any, tensor: Any) -> Iterator[Any]:
    """The layers that an input feeds, in the order of a functional model's graph; what lies within them too."""
    known = {id(tensor)}
    graph = getattr(model, "_functional", None) or model  # a Sequential keeps its graph inside
    for operation in getattr(graph, "operations", ()):
        for node in operation._inbound_nodes:
            if any(id(t) in known for t in node.input_tensors):
                known |= {id(t) for t in node.outputs}
                yield from _flat(operation)


def _flat(layer: Any) -> Iterable[Any]:
    return layer._flatten_layers() if hasattr(layer, "_flatten_layers") else ()


def _of_layer(layer: Any) -> Domain | None:
    kind = type(layer).__name__
    if kind == "Embedding":
        return Domain(0, int(layer.input_dim) - 1, whole=True)
    if kind == "CategoryEncoding":
        return Domain(0, int(layer.num_tokens) - 1, whole=True)
    if kind == "IntegerLookup":
        words = [int(word) for word in layer.get_vocabulary(include_special_tokens=False)]
        return Domain(choices=tuple([float(word) for word in words[:100]])) if words else None
    return None
