#!/usr/bin/env bash
# An EventSource gives up at a status such as 401 or 404. One expects so of eventsource-client 1.2.0, "modern
# EventSource client", by the author of `eventsource`, or an error at least. It reconnects for ever, and calls
# `onConnect` each time; only 204 ends it. No callback is told the status, unless `fetch` is wrapped. A client whose
# key was revoked keeps asking every few seconds. Wrap `fetch` and close at 4xx.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts eventsource-client@1.2.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createEventSource } from 'eventsource-client';
import http from 'node:http';

/** An upstream that gives one answer after the other: a status, or pieces of a body; null breaks the connection. */
async function serve(answers) {
  const asked = [];
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(request);
      if (typeof answer === 'number') return response.writeHead(answer).end();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      for (const piece of answer) {
        if (piece === null) return response.destroy();
        response.write(piece);
        await new Promise((done) => setTimeout(done, 20));
      }
      response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}`, asked };
}
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

async function read(status) {
  const { url, asked } = await serve([['retry: 20\nid: 1\ndata: one\n\n'], status]);
  let connects = 0;
  const source = createEventSource({ url, onMessage: () => {}, onConnect: () => connects++ });
  for (let n = 0; n < 20 && asked.length < 6; n++) await new Promise((done) => setTimeout(done, 50));
  source.close();
  return [asked.length < 6 ? `${asked.length} requests` : 'many requests', `onConnect ${connects < 4 ? connects : 'many times'}`];
}
console.log('eventsource-client 1.2.0');
verdict('["2 requests", "onConnect 1"] in all three', { 204: await read(204), 401: await read(401), 404: await read(404) }, {
  204: ['2 requests', 'onConnect 2'],
  401: ['many requests', 'onConnect many times'],
  404: ['many requests', 'onConnect many times'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
