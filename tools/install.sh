#!/bin/sh
# Make .venv and install the course into it; run by `make`, from the root of the checkout.
#
# sh tools/install.sh          # everything the course and its tests need
# sh tools/install.sh app      # what one of pyproject.toml's extras needs on top
#
# PYTHON=python3.12 chooses an interpreter; without it the first suitable one on the PATH is taken.
set -eu

suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1 || true)
    echo "error: the course needs Python 3.11 or newer, found: ${found:-no Python}. Install one, or name it: make run PYTHON=/path/to/python3.12" >&2
    exit 1
}

py=.venv/bin/python
if ! suitable "$py"; then
    base=$(find_python)
    echo "making .venv with $("$base" --version)"
    "$base" -m venv --clear .venv
fi

if ! "$py" -m uv --version >/dev/null 2>&1; then
    "$py" -m pip install --quiet --disable-pip-version-check uv ||
        echo "uv could not be installed; pip does the same, more slowly"
fi
extra=${1:-dev}
if [ "$extra" = dev ]; then
    echo "installing into .venv (the first time some minutes and 6 GB, most of it torch)"
fi
if "$py" -m uv --version >/dev/null 2>&1; then
    # uv leaves byte code to the first start, which would take every kernel eight seconds longer.
    UV_COMPILE_BYTECODE=1 "$py" -m uv pip install --python "$py" -c constraints.txt -e ".[$extra]"
else
    "$py" -m pip install --disable-pip-version-check -c constraints.txt -e ".[$extra]"
fi
