#!/usr/bin/env bash
# Make .venv ready for use. Quick when nothing has changed.
#
#   scripts/setup.sh [demo|test|lint]
#
# What for decides which system libraries are looked after: all that Qt needs for the demo, a
# virtual screen as well for the tests, none for lint. PYTHON=... chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

purpose=${1:-demo}
stamp=.venv/.setup-stamp

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }

# --- system packages ---------------------------------------------------------------------------

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install_packages() {
    say "Installing system packages: $*"
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

remedy() {
    if command -v apt-get >/dev/null; then
        say "sudo apt-get install --no-install-recommends $*"
    else
        say "(with your system's package manager; Debian calls them) $*"
    fi
}

# Each line: a library that Qt or OpenGL loads, and the Debian package that brings it.
qt_libraries() {
    cat <<'LIST'
libGL.so.1 libgl1
libEGL.so.1 libegl1
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libdbus-1.so.3 libdbus-1-3
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xkb.so.1 libxcb-xkb1
LIST
}

missing_packages() {
    local known library package
    known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
    qt_libraries | while read -r library package; do
        [[ $known == *"$library "* ]] || say "$package"
    done
    if [ "$purpose" = test ]; then
        command -v Xvfb >/dev/null || say xvfb
        command -v xauth >/dev/null || say xauth
    fi
}

look_after_libraries() {
    local missing
    [ "$(uname)" = Linux ] || return 0
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    if may_install && install_packages "${missing[@]}"; then
        return 0
    fi
    complain "napari's window needs system packages that are missing here. This installs them:"
    complain "    $(remedy "${missing[@]}")"
    if [ "$purpose" = test ]; then
        complain "The tests open windows and cannot run without them."
        exit 1
    fi
    complain "Going on without: what needs no screen works all the same."
}

# --- Python ------------------------------------------------------------------------------------

# Is this command a Python of version 3.11 up to 3.$2?
suits() {
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null
}

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        suits "$candidate" 13 && say "$candidate" && return 0
    done
    suits python3 99 && say python3 && return 0
    complain "Python 3.11 or newer is needed and was not found (python3 --version says:" \
        "$(python3 --version 2>&1 || true)). Name one with PYTHON=/path/to/python3.12 make ..."
    return 1
}

make_environment() {
    local python package
    .venv/bin/python -m pip --version >/dev/null 2>&1 && return 0
    .venv/bin/python -m ensurepip >/dev/null 2>&1 && return 0 # an environment without pip
    python=${PYTHON:-$(find_python)}
    if ! suits "$python" 99; then
        complain "PYTHON=$python is not a Python of version 3.11 or newer."
        exit 1
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if ! { may_install && install_packages "$package"; }; then
            complain "$python cannot make virtual environments. This mends it:"
            complain "    $(remedy "$package")"
            exit 1
        fi
    fi
    say "Making the virtual environment .venv"
    "$python" -m venv --clear .venv
}

wanted() { cat pyproject.toml constraints.txt scripts/setup.sh | cksum; }

pip_install() {
    .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt "$@"
}

install_project() {
    if [ -x .venv/bin/napari-unet ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; then
        return 0
    fi
    rm -f "$stamp"
    say "Installing torch (large; only the first time)"
    if [ -t 1 ]; then pip_install torch; else pip_install -qq torch; fi
    say "Installing napari, napari-unet-paint and the tools for testing (a few minutes)"
    pip_install -qq -e '.[all,test]' build mkdocs-material 'mkdocstrings[python]' mypy pip-audit ruff twine
    wanted >"$stamp"
    say "Ready."
}

case $purpose in
demo | test) look_after_libraries ;;
lint) ;;
*)
    complain "usage: scripts/setup.sh [demo|test|lint]"
    exit 2
    ;;
esac
make_environment
install_project
