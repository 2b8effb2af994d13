"""What looks like a secret by its name or its bytes and so never enters a workspace."""

from __future__ import annotations

import re

SCAN_BYTES = 1 << 20

_FOLDERS = frozenset({".aws", ".azure", ".docker", ".gnupg", ".kube", ".ssh", ".password-store"})
_NAMES = frozenset(
    {".netrc", "_netrc", ".pgpass", ".my.cnf", ".git-credentials", ".pypirc", ".npmrc", ".htpasswd", ".dockercfg",
     ".boto", ".s3cfg", "credentials.json", "application_default_credentials.json", ".vault-token",
     ".databrickscfg", "rclone.conf", "secrets.toml", "kaggle.json",
     "salt", "secrets.jsonl"}  # of a studio folder: with them, short secrets can be tried against digests
)  # fmt: skip
_ENDINGS = (".pem", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk")
_KEY_FILE = re.compile(r"id_[^.]*(?:\.(?:pub|key|old|bak))?")
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:\\n|[\s,:;()A-Za-z0-9+/=._@<>-]){0,400}?(?:[A-Za-z0-9+/=]{40,})"
)


def secret_by_name(path: str, folder: bool) -> bool:
    """Whether a member of a workspace is a secret by its name: `.env*`, `*.pem`, `id_rsa`, `.aws/` and the like.

    `id_*` means key files: names without an ending, or with `.pub`; `id_mapping.csv` and `id_utils.py` are none.
    """
    name = path.rpartition("/")[2]
    if folder:
        return name in _FOLDERS or path.endswith(".config/gcloud")
    if name in _NAMES or name.endswith(_ENDINGS) or name.startswith(".env"):
        return True
    if name.startswith("id_"):
        return _KEY_FILE.fullmatch(name) is not None
    return name.startswith("client_secret") and name.endswith(".json")


def secret_by_content(data: bytes) -> bool:
    """Whether the bytes of a file of at most `SCAN_BYTES` hold a private key (PEM, PGP, a service account's JSON)."""
    return len(data) <= SCAN_BYTES and holds_private_key(data)


def holds_private_key(data: bytes) -> bool:
    """Whether there is a private key in the bytes."""
    return b"PRIVATE KEY" in data and _KEY.search(data) is not None


def secret_path(path: str) -> bool:
    """Whether a file is secret by its name or by that of a folder above it."""
    parts = path.split("/")
    return secret_by_name(path, False) or any(
        secret_by_name("/".join(parts[:depth]), True) for depth in range(1, len(parts))
    )
