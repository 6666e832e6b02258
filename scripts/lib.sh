# Shared by the scripts in this folder (sourced, not run): messages, package installation, the download area.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${VMLIB_OUT:-$root/out} # downloads and images; removing it is always safe
jobs=$(nproc)

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# packages GROUP...: the names listed for these groups
packages() {
    local group
    for group in "$@"; do
        awk -v g="$group" '$1 == g { print $2 }' "$root/scripts/packages"
    done
}

missing_packages() {
    local name
    for name in $(packages "$@"); do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q ' installed$' || echo "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root to run: $*"
    fi
}

# install_packages GROUP...: installs what is missing; touches neither apt nor the network when nothing is.
install_packages() {
    local wanted
    wanted=$(missing_packages "$@")
    [ -n "$wanted" ] || return 0
    say "Installing" $wanted
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    # An index may be absent or stale; a stale one often still serves, so only the install decides.
    if ! as_root "${apt[@]}" install -y --no-install-recommends $wanted >"$out/apt.log" 2>&1; then
        as_root "${apt[@]}" update >>"$out/apt.log" 2>&1 || true
        as_root "${apt[@]}" install -y --no-install-recommends $wanted >>"$out/apt.log" 2>&1 ||
            { tail -n 20 "$out/apt.log" >&2; die "cannot install: $wanted"; }
    fi
}

# apt_private ARCH TOOL ARGS...: apt with its own state for one architecture, so that the machine's package
# lists and its set of architectures stay as they are, and no privileges are needed.
apt_private() {
    local arch=$1 tool=$2 state=$out/apt/$1
    shift 2
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    [ -e "$state/status" ] || : >"$state/status"
    "$tool" -q -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}

# download_package ARCH NAME DIR: fetches a .deb and unpacks it into DIR (nothing is installed)
download_package() {
    local arch=$1 name=$2 dir=$3 work
    work=$(mktemp -d -p "$out")
    (cd "$work" && apt_private "$arch" apt-get download "$name") >"$work/log" 2>&1 ||
        { tail -n 3 "$work/log" >&2; rm -rf "$work"; return 1; }
    rm -rf "$dir.part"
    dpkg-deb -x "$work"/*.deb "$dir.part" && rm -rf "$dir" && mv "$dir.part" "$dir"
    rm -rf "$work"
}

# refresh_index ARCH: once per run of a script; a failing third-party source does not matter here.
refresh_index() {
    local stamp=$out/apt/$1/refreshed
    [ -e "$stamp" ] && [ -n "$(find "$stamp" -mmin -600)" ] && return 0
    apt_private "$1" apt-get update >/dev/null 2>&1 || true
    : >"$stamp"
}

mkdir -p "$out"
