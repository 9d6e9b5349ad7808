#!/usr/bin/env bash
# Goal: acceptors keep their data; everything but the clients is killed at once mid-run, and a whole
# cluster starts from that data alone. New learners in a new directory have all that was decided, byte
# for byte, and then what the clients still ask for, and what new clients do.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
source "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")/lib.sh"

durable
start_cluster 0
slow_feed 1 2000 auto
slow_feed 2 2000 auto
await_lines 500 results/learner1.out
kill_node acceptor{1,2,3} learner{1,2} proposer{1,2,3,4}
expect_less 4000 results/learner1.out
mv results before
mkdir results
cp before/propose*.txt results

start_cluster 0
for id in 1 2; do
    file=learner${id}_decided_value
    # A kill may have torn the last line.
    sed -n "1,$(line_count "before/$file")p" "before/$file" >"before/$file.whole"
    await_lines "$(line_count "before/$file.whole")" "results/$file"
    cmp -n "$(stat -c %s "before/$file.whole")" "before/$file.whole" "results/$file"
done
slow_feed 3 500 auto 1
slow_feed 4 500 auto 1
judge 30 2 4 auto auto auto auto
cmp results/learner1.out results/learner2.out
cmp results/learner1_decided_value results/learner2_decided_value
