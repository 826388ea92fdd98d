#!/usr/bin/env bash
# A generation from its start to its last word with curl, over every cut: each event once, as one
# JSON object a line. Usage: examples/follow.sh 'a prompt without quotes'
set -euo pipefail
server=${LASTWORD_SERVER:-http://127.0.0.1:7878}
auth=(${LASTWORD_API_KEY:+-H "Authorization: Bearer $LASTWORD_API_KEY"})

# The key makes a repeat the same start, should the answer to the first try be lost.
generation=$(curl -fsS --retry 5 --retry-all-errors -o /dev/null -w '%header{location}' "${auth[@]}" \
  -H "Idempotency-Key: follow-$$-$RANDOM$RANDOM" -H 'Content-Type: application/json' \
  -d "{\"prompt\":\"$1\"}" "$server/v1/generations")

last=0 name=
until [ "$name" = done ]; do
  while IFS= read -r line; do
    case $line in
      'id: '*) last=${line#id: } ;;
      'event: '*) name=${line#event: } ;;
      'data: '*) printf '%s\n' "${line#data: }" ;;
    esac
  done < <(curl -fsSN "${auth[@]}" -H "Last-Event-ID: $last" "$server$generation/events" || sleep 1)
done
