#!/usr/bin/env bash
# Installs a package that bash/deb.sh has made, uses it, removes and purges it: in a Debian of its own,
# which debootstrap makes in memory and which is gone at the end. Nothing changes on this machine.
#
# Needs root and debootstrap. SUITE and MIRROR are as for docker/base.sh; the release must have a glibc
# no older than this machine's.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../bash/lib.sh"

refuse_unless_count $# 1 1 "try_deb.sh PACKAGE"
[ -f "$1" ] || refuse "try_deb.sh: $1 is no file"
package=$(realpath -- "$1")
[ "$(id -u)" -eq 0 ] || refuse "try_deb.sh: debootstrap needs root"
command -v debootstrap >/dev/null || refuse "try_deb.sh: there is no debootstrap; install it"
suite=${SUITE:-$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}
[[ $suite =~ ^[a-z]+$ ]] || refuse "try_deb.sh: SUITE $suite is not the code name of a Debian release"

# Runs where nothing else is mounted, and everything is gone with it.
try() {
    mount -t tmpfs -o size=1g,mode=755 paxos-deb /mnt
    debootstrap --variant=minbase "$suite" /mnt ${MIRROR:+"$MIRROR"} >/dev/null
    cp -- "$package" /mnt/paxos.deb
    in_root() {
        chroot /mnt env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
    }
    in_root dpkg --install /paxos.deb
    in_root paxos --version
    in_root getent passwd paxos
    in_root sh -c 'cd /var/lib && paxos --conf /etc/paxos/paxos.conf keygen /tmp/paxos.key'
    for file in usr/share/man/man1/paxos.1.gz usr/share/bash-completion/completions/paxos \
        usr/lib/systemd/system/paxos-node@.service usr/lib/sysusers.d/paxos.conf; do
        [ -s "/mnt/$file" ] || { echo "/$file is missing"; return 1; }
    done
    # A configuration that was edited is kept when the package is removed, and installed again.
    echo '# edited' >>/mnt/etc/paxos/paxos.conf
    mkdir -p /mnt/var/lib/paxos/data/acceptor-1
    in_root dpkg --remove multi-paxos
    [ ! -e /mnt/usr/bin/paxos ]
    grep -q edited /mnt/etc/paxos/paxos.conf
    in_root dpkg --install --force-confold /paxos.deb
    grep -q edited /mnt/etc/paxos/paxos.conf
    in_root dpkg --purge multi-paxos
    [ ! -e /mnt/etc/paxos/paxos.conf ]
    [ -d /mnt/var/lib/paxos/data/acceptor-1 ]
    in_root sh -c '! dpkg --status multi-paxos 2>/dev/null'
}
export suite package
export -f try
unshare --mount --fork bash -euo pipefail -c try >&2 || refuse "try_deb.sh: $package cannot be installed and removed in $suite"
echo "installed, used, removed and purged in $suite"
