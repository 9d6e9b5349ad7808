#!/usr/bin/env bash
# Makes a Debian package of the release build, and prints its path: the binary, units and user for
# systemd, the configuration, man pages, and completions for bash, zsh and fish.
#
# The package is written to DIRECTORY (default: `debian` beside the binary). It needs dpkg-deb,
# and nothing else that is Debian's. PAXOS_BIN names another binary; it must run here, because it makes
# its man pages and completions itself.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

refuse_unless_count $# 0 1 "deb.sh [DIRECTORY]"
command -v dpkg-deb >/dev/null || refuse "deb.sh: there is no dpkg-deb; install dpkg"
paxos=$(find_paxos)
folder=${1:-$(dirname -- "$paxos")/debian}
mkdir -p -- "$folder" || refuse "deb.sh: $folder is no directory that packages can be written to"
work=$(mktemp -d "${TMPDIR:-/tmp}/paxos-deb.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
root=$work/root
# The packed files are readable, regardless of this shell's umask.
umask 022

# put MODE FILE... DIRECTORY: copies files into a directory of the package.
put() {
    local mode=$1 target=$root/${*: -1}
    mkdir -p -- "$target"
    install -m "$mode" -- "${@:2:$#-2}" "$target"
}

cd -- "$PAXOS_HOME"
put 755 "$paxos" usr/bin
[ "${paxos##*/}" = paxos ] || mv -- "$root/usr/bin/${paxos##*/}" "$root/usr/bin/paxos"
if command -v strip >/dev/null; then
    strip -- "$root/usr/bin/paxos"
fi
put 644 conf/paxos.conf etc/paxos
put 644 systemd/paxos-*.service usr/lib/systemd/system
put 644 systemd/paxos-.service.d/paxos.conf usr/lib/systemd/system/paxos-.service.d
put 644 systemd/paxos.sysusers usr/lib/sysusers.d
mv -- "$root"/usr/lib/sysusers.d/paxos.{sysusers,conf}
mkdir -p -- "$root"/usr/share/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$paxos" man "$root/usr/share/man/man1" >&2
"$paxos" completions bash >"$root/usr/share/bash-completion/completions/paxos"
"$paxos" completions zsh >"$root/usr/share/zsh/vendor-completions/_paxos"
"$paxos" completions fish >"$root/usr/share/fish/vendor_completions.d/paxos.fish"
put 644 CHANGELOG.md README.md usr/share/doc/multi-paxos
{
    printf 'Multi-Paxos is licensed under either of two licenses, as you choose.\n'
    cat LICENSE-MIT LICENSE-APACHE
} >"$root/usr/share/doc/multi-paxos/copyright"
gzip -9n -- "$root"/usr/share/man/man1/*.1 "$root/usr/share/doc/multi-paxos/CHANGELOG.md"

# It needs the newest glibc that it names a symbol of.
libc=$(grep -aoE 'GLIBC_[0-9]+(\.[0-9]+)+' "$paxos" | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
version=$("$paxos" --version)
version=${version#paxos }
architecture=$(dpkg --print-architecture)
description=$(sed -n 's/^description = "\(.*\)"$/\1/p' Cargo.toml)
mkdir -- "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: multi-paxos
Version: $version
Architecture: $architecture
Maintainer: The maintainers of multi-paxos <maintainers@localhost>
Installed-Size: $(du -k -s --apparent-size -- "$root" | cut -f 1)
Depends: libc6${libc:+ (>= $libc)}, libgcc-s1, passwd
Recommends: systemd
Section: net
Priority: optional
Description: $description
 Processes agree on one log of values, sent by UDP multicast or to lists of
 members. The package has the program, units for systemd, a configuration,
 man pages and completions. It starts nothing.
END
printf '/etc/paxos/paxos.conf\n' >"$root/DEBIAN/conffiles"
install -m 755 systemd/deb/* "$root/DEBIAN"
(cd -- "$root" && find etc usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
package=$folder/multi-paxos_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >&2
printf '%s\n' "$package"
