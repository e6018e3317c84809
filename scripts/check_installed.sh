#!/usr/bin/env bash
# Install the wheel of dist/ into an empty environment with napari from PyPI, and use it there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shopt -s nullglob
wheels=(dist/*.whl)
if [ ${#wheels[@]} != 1 ]; then
    echo "dist/ holds ${#wheels[@]} wheels; one is meant. Run make build first." >&2
    exit 1
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
.venv/bin/python -m venv "$place/env"
"$place/env/bin/python" -m pip install --disable-pip-version-check -q "${wheels[0]}[all]"
run=("$place/env/bin/python" -P scripts/check_installed.py)
if [ -z "${DISPLAY:-}" ] && command -v xvfb-run >/dev/null; then
    run=(xvfb-run -a -s "-screen 0 1280x800x24" "${run[@]}")
fi
"${run[@]}"
