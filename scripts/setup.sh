#!/bin/sh
# Makes a Python environment exactly as the locks say, once; the next time it sees that nothing changed and ends.
#
# usage: scripts/setup.sh FOLDER LOCK...     for example: scripts/setup.sh .venv runtime build
# PYTHON names the interpreter; else the first of python3.12, python3.11, python3, python that fits.
set -eu
cd "$(dirname "$0")/.."
FITS='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'

fail() {
    echo "$*" >&2
    exit 1
}

version() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

find_python() {
    seen='' bare=''
    if [ -n "${PYTHON-}" ]; then set -- "$PYTHON"; else set -- python3.12 python3.11 python3 python; fi
    for name in "$@"; do
        if "$name" -c "$FITS" 2>/dev/null; then
            if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
                found=$name
                return
            fi
            bare=${bare:-$name}
        fi
        seen="$seen${seen:+, }$name: $(version "$name" || echo none)"
    done
    [ -z "$bare" ] || fail "$bare has no venv module (Debian and Ubuntu: apt-get install python$(version "$bare" |
        cut -d. -f1,2)-venv); install it, or name another: make setup PYTHON=/path/to/python3.12"
    fail "python 3.11 or 3.12 is needed ($seen); install one, or name it: make setup PYTHON=/path/to/python3.12"
}

usable() {
    "$folder/bin/python" -c "$FITS" 2>/dev/null || return 1
    # Its programs name the folder in which it was made.
    [ ! -e "$folder/.place" ] || [ "$(cat "$folder/.place")" = "$(pwd -P)" ] || return 1
    # A named interpreter replaces one of another version.
    [ -z "${PYTHON-}" ] || [ "$(version "$folder/bin/python")" = "$(version "$PYTHON")" ]
}

installed() {
    [ "$(head -n 1 "$ready" 2>/dev/null)" = "$key" ] || return 1
    for lock in "$@"; do grep -qx "$lock" "$ready" || return 1; done
}

folder=$1
shift
ready=$folder/.ready
key=$({ pwd; cat requirements/*.lock pyproject.toml scripts/setup.sh; } | cksum)

if ! usable; then
    find_python
    echo "making $folder with $found ($(version "$found"))"
    "$found" -m venv --clear "$folder"
    pwd -P >"$folder/.place"
elif installed "$@"; then
    exit 0
fi
echo "installing into $folder: $* (once; a minute or so)"
pip="$folder/bin/python -m pip --quiet --disable-pip-version-check"
# The locks are whole; an older pip would look for newer releases of what a package wants with an extra.
# shellcheck disable=SC2046,SC2086  # words of our own
$pip install --no-deps --require-hashes $(printf -- '-r requirements/%s.lock ' "$@")
$pip install --no-deps --no-build-isolation --editable .
installed && grep -vx "$key" "$ready" >"$ready.old" || : >"$ready.old"
{ echo "$key"; cat "$ready.old"; printf '%s\n' "$@"; } >"$ready"
rm "$ready.old"
