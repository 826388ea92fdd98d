#!/usr/bin/env bash
# IdempotentProducer of @durable-streams/client writes each batch once, by a producer id, an epoch and a number. A
# worker that died and starts again with its id, and does not count an epoch up, begins at number 0; one expects to
# be refused (StaleEpochError, SequenceGapError). @durable-streams/client 0.2.7: its batches are taken for repeated
# ones, `flush()` succeeds, `onError` is not called, and they are lost until the numbers are new: here three of
# four tokens. `restart()` does not help a process that does not know its last epoch; it has to be kept outside.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @durable-streams/client@0.2.7 @durable-streams/server@0.3.7) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { DurableStream, IdempotentProducer, stream } from '@durable-streams/client';
import { DurableStreamTestServer } from '@durable-streams/server';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const server = new DurableStreamTestServer({ host: '127.0.0.1', port: 0 });
const url = `${await server.start()}/answer`;
const writer = await DurableStream.create({ url, contentType: 'text/plain' });
const errors = [];
async function worker(tokens) {
  const producer = new IdempotentProducer(writer, 'worker-1', { onError: (error) => errors.push(error.name) });
  for (const token of tokens) {
    producer.append(token);
    await producer.flush();
  }
}
await worker(['one ', 'two ', 'three ']);
await worker(['four ', 'five ', 'six ', 'seven']);
console.log('@durable-streams/client 0.2.7, @durable-streams/server 0.3.7');
verdict('an error, or "one two three four five six seven"', [await (await stream({ url, live: false })).text(), errors], ['one two three seven', []]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
