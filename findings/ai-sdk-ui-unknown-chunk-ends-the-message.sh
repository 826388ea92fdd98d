#!/usr/bin/env bash
# The UI message stream of the Vercel AI SDK may grow with each release. One expects a page with an older SDK to
# pass over a chunk type that it does not know, as it passes over unknown fields. ai 7.0.173: an unknown `type`
# fails the validation, and the reading of the message ends there: what follows is lost, and the text keeps the
# state "streaming". (Only types that begin with `data-` are free.) A body that ends without `finish` is no
# error, on the other hand. A server may be newer than its pages only by `data-` parts.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts ai@7.0.173 zod@4) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { DefaultChatTransport, readUIMessageStream } from 'ai';
import http from 'node:http';

/** An upstream that answers every request with these pieces; `cut` breaks the connection instead of ending the body. */
async function serve(pieces, { cut = false, pause = 20, kind = 'text/event-stream' } = {}) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      response.writeHead(200, { 'content-type': kind });
      response.flushHeaders();
      for (const piece of pieces) {
        response.write(piece);
        await new Promise((done) => setTimeout(done, pause));
      }
      cut ? response.destroy() : response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}`;
}
const event = (value, name) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(value)}\n\n`;
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const parts = [
  { type: 'start', messageId: 'm1' }, { type: 'text-start', id: 't1' }, { type: 'text-delta', id: 't1', delta: 'Hel' },
  { type: 'text-delta', id: 't1', delta: 'lo' }, { type: 'text-end', id: 't1' }, { type: 'finish' },
];
async function read(list) {
  const api = await serve([...list.map((part) => event(part)), 'data: [DONE]\n\n'], { pause: 0 });
  const stream = await new DefaultChatTransport({ api }).sendMessages({ messages: [], chatId: 'c1', trigger: 'submit-message' });
  let last;
  let errors = 0;
  for await (const message of readUIMessageStream({ stream, onError: () => errors++ })) last = message;
  return [last.parts[0].text, last.parts[0].state, errors];
}
console.log('ai 7.0.173');
verdict('Hello, done, 0 errors: twice; an error', [
  await read([...parts.slice(0, 3), { type: 'data-weather', data: 1 }, ...parts.slice(3)]).then(([text]) => text),
  await read([...parts.slice(0, 3), { type: 'weather', now: 1 }, ...parts.slice(3)]),
  await read(parts.slice(0, 3)),
], ['Hello', ['Hel', 'streaming', 1], ['Hel', 'streaming', 0]]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
