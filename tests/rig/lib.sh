# Shared by the scripts in this folder (sourced, not run): what the rig is made of.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

rig=$root/tests/rig
area=$out/rig
mkdir -p "$area"

skip() {
    echo "SKIP: $*"
    exit 77
}

# rig_needs: skips the caller (status 77) with the reason when the rig cannot run here.
rig_needs() {
    local wanted
    [ "$(uname -m)" = x86_64 ] || skip "the rig runs on x86-64 hosts"
    command -v dpkg-query >/dev/null || skip "the rig is built from Debian's packages"
    wanted=$(missing_packages rig)
    [ -z "$wanted" ] || skip "not installed:" $wanted
    command -v gcc >/dev/null || skip "gcc is not installed"
}

# rig_kernel NAME: the folder of a kernel: one that build-kernel made, else the distribution's.
rig_kernel() {
    if [ -e "$area/kernels/$1/vmlinuz" ]; then
        echo "$area/kernels/$1"
    else
        "$root/scripts/fetch-kernel" "$1"
    fi
}

# rig_headers NAME: what modules for that kernel are built against. Fails with the reason.
rig_headers() {
    local folder
    folder=$(rig_kernel "$1" 2>&1) || { echo "no kernel: ${folder##*$'\n'}" && return 1; }
    folder=$folder/build
    [ -d "$folder" ] || folder=$(ls -d /usr/src/linux-headers-*-cloud-amd64 2>/dev/null | sort -V | tail -n 1)
    [ -n "$folder" ] || { echo "linux-headers-cloud-amd64 is not installed" && return 1; }
    echo "$folder"
}
