"""Loads what `studio serve` answers with: checkpoints, wrappers, the identity; one interface behind all of them."""

from __future__ import annotations

from .base import DictModel, LoadedModel, TensorModel, TensorSpec
from .load import load_model

__all__ = ["DictModel", "LoadedModel", "TensorModel", "TensorSpec", "load_model"]
