#!/usr/bin/env bash
# Makes a base image without a registry, and prints its name: the smallest Debian that debootstrap
# makes, less what no process reads. An image of that name is taken as it is.
#
# The release is this machine's, so that binaries built here run there; SUITE names another. MIRROR
# is where its packages are, DOCKER names another engine. Needs root, and debootstrap, which is
# installed with apt-get if it can be.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../bash/lib.sh"

refuse_unless_count $# 0 0 "base.sh"
docker=${DOCKER:-docker}
"$docker" info >/dev/null 2>&1 || refuse "base.sh: no container engine answers; start it, or name another with DOCKER"

# Prints the code name of this machine's Debian release; bookworm on other systems.
release() {
    (
        # shellcheck disable=SC1091
        source /etc/os-release 2>/dev/null
        if [ "${ID:-}" = debian ]; then printf '%s\n' "${VERSION_CODENAME:-bookworm}"; else echo bookworm; fi
    )
}

suite=${SUITE:-$(release)}
[[ $suite =~ ^[a-z]+$ ]] || refuse "base.sh: SUITE $suite is not the code name of a Debian release"
image=paxos-base:$suite
if "$docker" image inspect "$image" >/dev/null 2>&1; then
    printf '%s\n' "$image"
    exit 0
fi

[ "$(id -u)" -eq 0 ] || refuse "base.sh: debootstrap needs root; run docker/base.sh as root once, or set BASE_IMAGE to an image that you have"
if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || refuse "base.sh: there is no debootstrap; install it, or set BASE_IMAGE to an image that you have"
    echo "installing debootstrap ..." >&2
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends debootstrap; } >&2 ||
        refuse "base.sh: debootstrap could not be installed; install it, or set BASE_IMAGE to an image that you have"
fi

# Makes the system in $1/system, and prints it as an archive. $2 mounts memory there, or is `true`.
bootstrap() {
    local system=$1/system
    mkdir "$system"
    "${@:2}" "$system"
    debootstrap --variant=minbase "$suite" "$system/root" ${MIRROR:+"$MIRROR"} >"$system/log" 2>&1 || {
        tail -n 5 "$system/log" >&2
        return 1
    }
    rm -rf "$system"/root/var/{cache/apt,cache/debconf,lib/apt/lists,log}/* \
        "$system"/root/usr/share/{doc,info,locale,man,zoneinfo}/*
    tar -C "$system/root" -c .
}

work=$(mktemp -d "${TMPDIR:-/tmp}/paxos-base.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "making $image with debootstrap; this takes about half a minute ..." >&2
export suite
export -f bootstrap
in_memory=(mount -t tmpfs -o "size=1g,mode=755" paxos-base)
# In memory it takes half the time. A mount for one process alone is gone with it.
if unshare --mount "${in_memory[@]}" "$work" 2>/dev/null; then
    command=(unshare --mount bash -euc 'bootstrap "$@"' bash "$work" "${in_memory[@]}")
else
    command=(bash -euc 'bootstrap "$@"' bash "$work" true)
fi
"${command[@]}" >"$work/image.tar" || refuse "base.sh: debootstrap failed; MIRROR names another source of packages"
"$docker" import --change 'CMD ["bash"]' --message "debootstrap --variant=minbase $suite" "$work/image.tar" "$image" >/dev/null
printf '%s\n' "$image"
