#!/usr/bin/env bash
# While a tool call streams, pages show what half a JSON text already says. One expects a value that is not
# whole to be left out, or completed to the only thing that it can become. jsonrepair 3.15.0 makes the text
# "fal" of a cut `false`, which is true in an `if`; it and best-effort-json-parser 1.5.1 make 0 of a lone minus
# sign, and the latter raises when the cut falls into a `\u` escape. partial-json 0.1.7 leaves out or completes.
# Values in a preview that were never said; do not act on them before the call is whole.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts jsonrepair@3.15.0 best-effort-json-parser@1.5.1 partial-json@0.1.7) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { parse as bestEffort } from 'best-effort-json-parser';
import { jsonrepair } from 'jsonrepair';
import { parse as partial } from 'partial-json';
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

console.error = console.warn = () => {};
const cuts = ['{"ok": fal', '{"degrees": -', '{"name": "x\\u00e'];
const attempt = (read, text) => {
  try {
    return read(text);
  } catch (error) {
    return 'raises';
  }
};
const seen = {
  jsonrepair: cuts.map((text) => attempt((t) => JSON.parse(jsonrepair(t)), text)),
  'best-effort-json-parser': cuts.map((text) => attempt(bestEffort, text)),
  'partial-json': cuts.map((text) => attempt(partial, text)),
};
console.log('jsonrepair 3.15.0, best-effort-json-parser 1.5.1, partial-json 0.1.7');
verdict('{} or ok: false; {}; {} or name: x', seen, {
  jsonrepair: [{ ok: 'fal' }, { degrees: 0 }, { name: 'x' }],
  'best-effort-json-parser': [{ ok: false }, { degrees: 0 }, 'raises'],
  'partial-json': [{ ok: false }, {}, { name: 'x' }],
});
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
