"""How a request was written, so that its answer can be written likewise.

Hides nothing; opaque to everybody outside this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How one value was written.

    Args:
        kind: `plain` (as the format writes it), `typed` (dtype, shape, b64), `text` (a JSON string that is a raw
            pickle), `base64` (a JSON string that is a pickle in base64) or `pickled` (bytes inside a pickle).
        protocol: Of a pickle.
    """

    kind: str = "plain"
    protocol: int = 4


PLAIN = KeyForm()


@dataclass(slots=True)
class Form:
    """How a request was written; make one with `decode`, hand it to `encode`.

    Args:
        media: `json`, `pickle`, `npy`, `npz` or `safetensors`.
        protocol: Of the body, if it is a pickle.
        keys: The form of each value that is not `plain`.
        others: The form of output keys that are no input keys.
    """

    media: str = "json"
    protocol: int = 4
    keys: dict[str, KeyForm] = field(default_factory=dict)
    others: KeyForm = PLAIN

    def of(self, key: str) -> KeyForm:
        """The form in which the output `key` is answered."""
        return self.keys.get(key, self.others)


def form_of(media: str, keys: Mapping[str, KeyForm], *, protocol: int = 4) -> Form:
    """A form whose new keys are written as all the old ones were, if those agree."""
    kinds = set(keys.values())
    return Form(media, protocol, dict(keys), kinds.pop() if len(kinds) == 1 else PLAIN)
