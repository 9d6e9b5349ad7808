#!/usr/bin/env bash
# As docker-entrypoint.sh, but learner 2 and client 2 come LATE seconds late. Client 2 asks for the
# instances after those of client 1, so learner 2 must fetch what was decided before it came.
set -euo pipefail

first=${FIRST_INSTANCE:-1} values=${VALUES:-100} late=${LATE:-3}
if ! [[ $late =~ ^[0-9]{1,6}(\.[0-9]+)?$ ]]; then
    printf "LATE is '%s'; set it to a number of seconds\n" "$late" >&2
    exit 2
fi
if [ "${ROLE:-}" = client ] && [ "${ID:-}" = 2 ]; then
    if [[ $first =~ ^[1-9][0-9]{0,17}$ && $values =~ ^[0-9]{1,12}$ ]]; then
        export FIRST_INSTANCE=$((first + values))
    fi
fi
case ${ROLE:-}${ID:-} in
client2 | learner2)
    # The process with number 1 hears only signals that it asks for.
    trap 'exit 0' TERM INT
    sleep "$late" &
    wait "$!"
    ;;
esac
exec "$(dirname "${BASH_SOURCE[0]}")/docker-entrypoint.sh"
