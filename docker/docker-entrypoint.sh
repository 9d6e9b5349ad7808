#!/usr/bin/env bash
# Runs in a container: one process of the role that the environment names, or a node's, in the
# process with number 1, so that SIGTERM reaches it.
#
# ROLE and ID say who it is. LOSS (PLR is its old name), LIFETIME, NO_TIMEOUTS, NO_PREEXECUTION and
# FIRST_INSTANCE are the arguments of the scripts in bash/, VALUES is what a client generates and
# asks for, CONF is the configuration, and INTERFACE the address to use if there are several.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source bash/lib.sh

role=${ROLE:-} id=${ID:-} values=${VALUES:-100} first_instance=${FIRST_INSTANCE:-1}
loss=${LOSS:-${PLR:-0}} lifetime=${LIFETIME:-0}
[[ $role =~ ^(acceptor|client|learner|node|proposer)$ ]] ||
    refuse "ROLE is '$role'; set it to acceptor, client, learner, proposer or node"
[[ $id =~ ^[1-9][0-9]{0,8}$ ]] || refuse "ID is '$id'; set it to a number from 1"
[[ $values =~ ^[0-9]{1,12}$ ]] || refuse "VALUES is '$values'; set it to a whole number"

# ---- The configuration of this container -------------------------------------------------------
# Everything is as in CONF, but for the interface, which is the address that the engine gave this
# container, and the TTL, which lets datagrams reach the other containers and no further.
shared=${CONF:-conf/paxos.conf}
[ -r "$shared" ] || refuse "CONF is $shared, which cannot be read"
address=${INTERFACE:-$(hostname -i 2>/dev/null | tr ' ' '\n' | grep -m 1 -E '^[0-9]+(\.[0-9]+){3}$' || true)}
case $address in
"" | 127.*) refuse "this container has no network address of its own; set INTERFACE to the one to use" ;;
esac
conf=${TMPDIR:-/tmp}/paxos.conf
# What leaves its host needs a cluster's name; this is it unless CONF has one.
export PAXOS_CLUSTER=${PAXOS_CLUSTER:-containers}
{
    sed -E '/^[[:blank:]]*(interface|ttl)[[:blank:]]/d' "$shared"
    printf '\ninterface %s\nttl 1\n' "$address"
} >"$conf"
# -------------------------------------------------------------------------------------------------

case $role in
client)
    fed=results/propose$id.txt
    # A client that is started again asks for the same values at the same instances, which changes
    # nothing. Values without an instance would be decided once more.
    if [ -e "$fed" ]; then
        [ "$first_instance" != auto ] ||
            refuse "client $id has asked already, and FIRST_INSTANCE is auto; begin anew with empty volumes: docker-compose down --volumes"
    else
        bash/generate.sh "$values" >"$fed.new"
        mv "$fed.new" "$fed"
    fi
    exec bash/client.sh "$id" "$conf" "$loss" "$lifetime" "$first_instance" <"$fed"
    ;;
node | proposer)
    exec "bash/$role.sh" "$id" "$conf" "$loss" "$lifetime" "${NO_TIMEOUTS:-0}" "${NO_PREEXECUTION:-0}"
    ;;
*)
    exec "bash/$role.sh" "$id" "$conf" "$loss" "$lifetime"
    ;;
esac
