#!/bin/sh
# Makes a virtual environment once, and again only when something that it was made from has changed.
#   scripts/venv.sh FOLDER PIP-INSTALL-ARGUMENTS...
set -eu
cd "$(dirname "$0")/.."
folder=$1
shift

fits() { "$1" -c 'import sys; sys.exit(not sys.version_info >= (3, 10))' >/dev/null 2>&1; }

find_python() {
    # A name may exist and not run (version managers' shims do), so each candidate is tried.
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3.10 python3 python; do
        if fits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.10 or newer found; install one, or name it: make PYTHON=/path/to/python3 setup" >&2
    return 1
}

debian_packages() {
    # Only as root on a Debian-like system, and only what is missing; elsewhere the reason is said.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing $*" >&2
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$@"; } >/dev/null </dev/null && return
    fi
    echo "setup: missing: $*; install with your system's package manager, then repeat" >&2
    return 1
}

fingerprint() { { cat pyproject.toml requirements*.txt scripts/venv.sh; echo "$PWD $*"; } | cksum | tr -d ' '; }

stamp=$folder/.studio-$(fingerprint "$@")
if [ -e "$stamp" ] && fits "$folder/bin/python"; then
    exit 0
fi

started=$(date +%s)
if ! fits "$folder/bin/python"; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        debian_packages "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    rm -rf "$folder"
    echo "setup: making $folder with $("$python" --version) (a minute or two, this once)" >&2
    "$python" -m venv "$folder"
fi
for tool in git curl; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        debian_packages "$tool" || echo "setup: going on without $tool; what needs it is skipped, and says so" >&2
    fi
done
rm -f "$folder"/.studio-*
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" </dev/null
touch "$stamp"
echo "setup: $folder is ready ($(($(date +%s) - started)) s)" >&2
