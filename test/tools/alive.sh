#!/usr/bin/env bash
# alive.sh "what" command...: runs a long, silent command and shows that it is alive; its output only if it fails.
set -u
what=$1; shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '%s ' "$what"
"$@" >"$log" 2>&1 &
pid=$!
while kill -0 "$pid" 2>/dev/null; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; kill -0 "$pid" 2>/dev/null || break; done
    printf '.'
done
if wait "$pid"; then
    printf ' done\n'
else
    status=$?
    printf ' failed\n'
    cat "$log" >&2
    exit "$status"
fi
