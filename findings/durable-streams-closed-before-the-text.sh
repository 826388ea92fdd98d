#!/usr/bin/env bash
# Of a reading session @durable-streams/client says that `closed` resolves when the session is complete. One expects
# that every subscriber has had the last text by then. @durable-streams/client 0.2.7: with a stream that was
# complete before (somebody opens the page again), `closed` resolves before the subscriber is called at all; with
# one that is still being written it resolves after. Take the end from a batch with `streamClosed`.
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
const base = await server.start();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
let number = 0;
async function read(live, ended) {
  const url = `${base}/answer-${number++}`;
  const writer = await DurableStream.create({ url, contentType: 'text/plain' });
  const write = async () => {
    await writer.append('Hel');
    await pause(100);
    await writer.append('lo');
    await writer.close();
  };
  if (ended) await write();
  const session = await stream({ url, live });
  let text = '';
  session.subscribeText((batch) => void (text += batch.text));
  if (!ended) write();
  await session.closed;
  const then = text;
  await pause(300);
  return [then, text];
}
console.log('@durable-streams/client 0.2.7, @durable-streams/server 0.3.7');
verdict('["Hello","Hello"] four times', {
  'long-poll, written meanwhile': await read('long-poll', false),
  'long-poll, complete': await read('long-poll', true),
  'sse, written meanwhile': await read('sse', false),
  'sse, complete': await read('sse', true),
}, {
  'long-poll, written meanwhile': ['Hello', 'Hello'],
  'long-poll, complete': ['', 'Hello'],
  'sse, written meanwhile': ['Hello', 'Hello'],
  'sse, complete': ['', 'Hello'],
});
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
