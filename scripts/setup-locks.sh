#!/bin/sh
# Writes requirements/*.lock: every version with its hashes, for Python 3.11 and 3.12 on Linux and macOS, no addresses.
#
# usage: scripts/setup-locks.sh UV [--upgrade]
set -eu
cd "$(dirname "$0")/.."
if ! .venv-lock/bin/python -m pip freeze 2>/dev/null | grep -qx "$1"; then
    "${PYTHON:-python3}" -m venv --clear .venv-lock
    .venv-lock/bin/python -m pip --quiet --disable-pip-version-check install "$1"
fi
shift

compile() {
    target=requirements/$1.lock
    shift
    .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command 'make lock' --output-file "$target" "$@"
    echo "wrote $target"
}

# In this order: what runs decides, the rest follows.
compile runtime pyproject.toml --constraints requirements/pins.in "$@"
compile build --group build --constraints requirements/runtime.lock "$@"
compile dev pyproject.toml --group build --group dev --group lint --constraints requirements/runtime.lock \
    --constraints requirements/build.lock "$@"
compile node requirements/node.in "$@"
compile proxy requirements/proxy.in --group build "$@"
compile mcp requirements/mcp.in --group build "$@"
