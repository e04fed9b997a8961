#!/bin/sh
# Installs what the lab needs on a Debian 12 or 13 machine and says what. Does nothing, and needs no network, when all
# is there. The virtual environment in .venv is made anew only when the locked requirements or the project's metadata
# change, so that a second run is offline.
#
# Usage: install.sh system|venv|hosts|images
set -eu
cd "$(dirname "$0")/../.."

PACKAGES="ca-certificates debian-archive-keyring dnsmasq-base espeak-ng iproute2 libfaketime mmdebstrap nftables postgresql
python3 python3-venv strace util-linux"
# Machines that boot, and how they are logged into.
HOSTS="lego openssh-client openssl pebble systemd-container"
IMAGES="buildah"
# Debian's own, which POPs have too: it is optimised by profile. The controller's core took an eighth more CPU under one that
# a version manager had compiled as it came.
PYTHON=${PYTHON:-/usr/bin/python3}
LOCK=.requirements/dev.txt

say() { printf 'callplane: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Installs those of the packages named that are missing.
system() {
    missing=
    command -v dpkg-query >/dev/null 2>&1 || fail "this machine is no Debian: the lab is built from Debian 12 or 13"
    for package; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
        [ "$status" = installed ] || missing="$missing $package"
    done
    # Checked after the packages: who has them all may run the unit tests without being root.
    [ -z "$missing" ] && return 0
    [ "$(id -u)" = 0 ] || fail "these Debian packages are missing and installing them takes root:$missing"
    say "installing Debian packages:$missing"
    apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

venv() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Python 3.11 or newer is needed, $PYTHON is $("$PYTHON" --version 2>&1)"
    # An editable install records console commands and entry points, so the metadata counts too.
    stamp=$({ cat "$LOCK" pyproject.toml; "$PYTHON" --version; pwd; } | sha256sum | cut -d ' ' -f 1)
    [ "$(cat .venv/installed 2>/dev/null)" = "$stamp" ] && return 0
    say "making .venv with $("$PYTHON" --version) and the locked packages of $LOCK"
    rm -rf .venv
    "$PYTHON" -m venv .venv
    .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r "$LOCK"
    .venv/bin/pip install -qq --disable-pip-version-check --no-deps -e .
    echo "$stamp" >.venv/installed
}

# shellcheck disable=SC2086 # lists of words
case "${1:-}" in
system) system $PACKAGES ;;
venv) venv ;;
hosts) system $HOSTS ;;
images) system $IMAGES ;;
*) fail "usage: $0 system|venv|hosts|images" ;;
esac
