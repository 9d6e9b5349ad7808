#!/usr/bin/env bash
# Recognises and removes what an earlier run left, and nothing else. Sourced, never run.
#
# A directory is examined before anything in it is touched. Files that are in use, unknown or
# somebody else's, or behind a link are refused by their path.

# What survey_results and survey_data have recognised.
LEFT_BY_A_RUN=()

# hold DIRECTORY: keeps a directory for this script and what it starts, as long as any of them lives.
# Processes of a run that was killed end in a moment, so this waits for them.
hold() {
    local held
    exec {held}<"$1"
    flock --wait 2 "$held" || refuse "$(shown "$1") is in use by another run; wait for its end, or end it"
}

# refuse_if_locked FILE: refuses a file that a process holds a lock on.
refuse_if_locked() {
    local status=0
    flock --nonblock --conflict-exit-code 77 "$1" true 2>/dev/null || status=$?
    [ "$status" -ne 77 ] || refuse "$(shown "$1") is in use: a process of another cluster runs here; end it, or run in another directory"
}

# is_tracked PATH: git keeps it, so no run has left it.
is_tracked() {
    [ -n "$(git -C "$(dirname -- "$1")" ls-files -- "$(basename -- "$1")" 2>/dev/null)" ]
}

# survey_results DIRECTORY: recognises what a run leaves in its results by name.
survey_results() {
    local entry name
    local known='^(propose[0-9]+\.txt|learner[0-9]+_decided_value|(acceptor|learner|proposer|client|node)[0-9]+\.(log|out)|run\.txt|timeline\.txt|report\.html)$'
    for entry in "$1"/*; do
        name=${entry##*/}
        # The files of bench.sh do no harm.
        if ! [ -e "$entry" ] && ! [ -L "$entry" ] || [ "$name" = bench ] || is_tracked "$entry"; then
            continue
        fi
        [[ $name =~ $known ]] || refuse "$PWD/$entry is nothing that a run leaves; move it away, since a run begins with empty results"
        [ ! -L "$entry" ] || refuse "$PWD/$entry is a link, and nothing behind a link is removed; move it away"
        [ -f "$entry" ] || refuse "$PWD/$entry is not a file; move it away, since a run begins with empty results"
        refuse_if_locked "$entry"
        LEFT_BY_A_RUN+=("$entry")
    done
}

# survey_data DIRECTORY: recognises acceptors of a run by the cluster that their identity names.
survey_data() {
    local entry name cluster
    for entry in "$1"/*; do
        name=${entry##*/}
        if ! [ -e "$entry" ] && ! [ -L "$entry" ] || is_tracked "$entry"; then
            continue
        fi
        [ ! -L "$entry" ] || refuse "$(shown "$entry") is a link, and nothing behind a link is removed; move it away"
        [[ $name =~ ^acceptor-[0-9]+$ ]] && [ -d "$entry" ] ||
            refuse "$(shown "$entry") is nothing that a run leaves; move it away, or give the configuration another \`data\`"
        if [ -e "$entry/lock" ]; then refuse_if_locked "$entry/lock"; fi
        [ -z "$(find "$entry" -mindepth 1 ! -type f -print -quit)" ] ||
            refuse "$(shown "$entry") holds more than an acceptor's files; move it away, or give the configuration another \`data\`"
        cluster=$(sed -n 's/^cluster //p' "$entry/identity" 2>/dev/null | head -n 1) || cluster=
        # An acceptor that was killed at its first start has an empty log, and what it wrote before it
        # gave itself an identity.
        if ! [[ $cluster =~ ^run-[0-9a-f]{16}$ ]] &&
            [ -n "$(find "$entry" -type f -size +0 ! -name manifest ! -name '*.new' -print -quit)" ]; then
            refuse "$(shown "$entry") belongs to ${cluster:-nobody knows which cluster}, and not to a run; remove it yourself if nobody needs it, or give the configuration another \`data\`"
        fi
        LEFT_BY_A_RUN+=("$entry")
    done
}

# shown PATH: the path from the root.
shown() {
    case $1 in
    /*) printf '%s' "$1" ;;
    *) printf '%s' "$PWD/$1" ;;
    esac
}

# refuse_links DIRECTORY: the directory is not a link, nor, if it is named from here, behind one.
refuse_links() {
    [ ! -L "$1" ] || refuse "$(shown "$1") is a link, and nothing behind a link is removed; move it away"
    [ -e "$1" ] || return 0
    [ -d "$1" ] || refuse "$(shown "$1") is not a directory; move it away"
    case $1 in
    /*) ;;
    *)
        [ "$(realpath -- "$1")" = "$(realpath --no-symlinks -- "$(pwd -P)/$1")" ] ||
            refuse "$(shown "$1") lies behind a link, and nothing behind a link is removed; name it from the root in the configuration"
        ;;
    esac
}

# remove_left: removes what was recognised.
remove_left() {
    rm -rf -- ${LEFT_BY_A_RUN[@]+"${LEFT_BY_A_RUN[@]}"}
    LEFT_BY_A_RUN=()
}
