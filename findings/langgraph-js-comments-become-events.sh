#!/usr/bin/env bash
# A comment (": ping") is no event. One expects the stream of a run to pass over it. @langchain/langgraph-sdk 2.0.0
# (JavaScript) does until the first event with an id; from then on each blank line is an event with the name "" and
# null data, so every sign of life reaches the loop, and code that reads `event.data.content` fails. And a clean
# early end is the end of the run, without an error, though the same server is asked for the rest after a broken
# connection. Skip events without a name, and look for the run's last event.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @langchain/langgraph-sdk@2.0.0 @langchain/core@1.4.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { Client } from '@langchain/langgraph-sdk';
import http from 'node:http';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

/** A server with a `Location` to take the run up at: one answer after the other, null breaks the connection. */
async function read(...answers) {
  let asked = 0;
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      response.writeHead(200, { 'content-type': 'text/event-stream', location: '/threads/t/runs/r/stream' });
      for (const piece of answers[asked++]) {
        if (piece === null) return response.destroy();
        response.write(piece);
        await new Promise((done) => setTimeout(done, 20));
      }
      response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const client = new Client({ apiUrl: `http://127.0.0.1:${server.address().port}`, apiKey: 'none' });
  const seen = [];
  for await (const { event, data } of client.runs.stream('t', 'a', { input: {} })) seen.push(`${event}:${data}`);
  return seen.join(' ');
}
const one = 'event: values\ndata: "one"\n\n';
const two = 'event: values\ndata: "two"\n\n';
const ping = ': ping\n\n';
console.log('@langchain/langgraph-sdk 2.0.0');
verdict('"values:one values:two" in all four', {
  'pings, no ids': await read([ping, one, ping, ping, two]),
  'pings and ids': await read([ping, `id: 1\n${one}`, ping, ping, `id: 2\n${two}`]),
  'broken after one': await read([`id: 1\n${one}`, null], [`id: 2\n${two}`]),
  'ended after one': await read([`id: 1\n${one}`], [`id: 2\n${two}`]),
}, {
  'pings, no ids': 'values:one values:two',
  'pings and ids': 'values:one :null :null values:two',
  'broken after one': 'values:one values:two',
  'ended after one': 'values:one',
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
