#!/usr/bin/env bash
# An event whose data is empty is an event (SSE specification: `data` alone dispatches ""). One expects a new,
# strict parser to deliver it, as EventSource does. parse-sse 0.1.0 drops it, and delivers an event that the
# body's end cuts in two as an ordinary one; `eventsource-parser` 4.1.3 is right in both. An empty event is a
# usual sign of life or of the end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts parse-sse@0.1.0 eventsource-parser@4.1.3) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createParser } from 'eventsource-parser';
import { parseServerSentEvents } from 'parse-sse';
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

const url = await serve(['data\n\n', 'data: a\n\n', 'data: hal']);
const seen = { 'parse-sse': [], 'eventsource-parser': [] };
for await (const e of parseServerSentEvents(await fetch(url))) seen['parse-sse'].push(e.data);
const parser = createParser({ onEvent: (e) => seen['eventsource-parser'].push(e.data) });
parser.feed(await (await fetch(url)).text());
console.log('parse-sse 0.1.0, eventsource-parser 4.1.3');
verdict("'' and 'a', twice", seen, { 'parse-sse': ['a', 'hal'], 'eventsource-parser': ['', 'a'] });
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
