#!/usr/bin/env bash
# Demands that systemd understands every word of the units, and that they leave little to attack.
#
# The binary is that of this checkout, so nothing needs to be installed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../bash/lib.sh"

refuse_unless_count $# 0 0 "verify.sh"
command -v systemd-analyze >/dev/null || refuse "verify.sh: there is no systemd-analyze; install systemd"
paxos=$(find_paxos)
folder=$(mktemp -d "${TMPDIR:-/tmp}/paxos-units.XXXXXX")
trap 'rm -rf "$folder"' EXIT

cp -r "$PAXOS_HOME"/systemd/paxos-*.service "$PAXOS_HOME"/systemd/paxos-.service.d "$folder"
sed -i "s|^ExecStart=/usr/bin/paxos |ExecStart=$paxos |" "$folder"/*.service
export SYSTEMD_UNIT_PATH=$folder:
for role in acceptor client learner node proposer; do
    said=$(systemd-analyze verify --man=no "paxos-$role@1.service" 2>&1) || refuse "$said"
    # A word that it does not know is only a warning.
    if grep -F "$folder" <<<"$said" >&2; then refuse "verify.sh: paxos-$role@.service is not understood"; fi
    systemd-analyze security --offline=true --threshold=20 "paxos-$role@1.service" | grep -F "Overall exposure" ||
        refuse "verify.sh: paxos-$role@.service leaves too much to attack"
done
