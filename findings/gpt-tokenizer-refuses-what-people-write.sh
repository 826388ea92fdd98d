#!/usr/bin/env bash
# Text that looks like a special token is plain text when a person writes it. One expects a counter to count it.
# gpt-tokenizer 4.0.0 and js-tiktoken 1.0.21 raise an error for "<|endoftext|>", and they differ on "<|im_start|>",
# the chat mark of many models: gpt-tokenizer refuses it, even in `countTokens` and `isWithinTokenLimit`,
# js-tiktoken counts it. A message about chat templates then fails before it is sent. gpt-tokenizer takes `{
# disallowedSpecial: new Set() }`, js-tiktoken `encode(text, [], [])`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts gpt-tokenizer@4.0.0 js-tiktoken@1.0.21) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { countTokens, isWithinTokenLimit } from 'gpt-tokenizer';
import { getEncoding } from 'js-tiktoken';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const encoding = getEncoding('o200k_base');
const attempt = (run) => {
  try {
    return run();
  } catch (error) {
    return 'error';
  }
};
const seen = {};
for (const text of ['Hello', 'What does <|im_start|> mean?', 'What does <|endoftext|> mean?']) {
  seen[text] = [
    attempt(() => countTokens(text) > 0), attempt(() => isWithinTokenLimit(text, 100) > 0), attempt(() => encoding.encode(text).length > 0),
    attempt(() => countTokens(text, { disallowedSpecial: new Set() }) > 0), attempt(() => encoding.encode(text, [], []).length > 0),
  ];
}
console.log('gpt-tokenizer 4.0.0, js-tiktoken 1.0.21');
verdict('true fifteen times', seen, {
  Hello: [true, true, true, true, true],
  'What does <|im_start|> mean?': ['error', 'error', true, true, true],
  'What does <|endoftext|> mean?': ['error', 'error', 'error', true, true],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
