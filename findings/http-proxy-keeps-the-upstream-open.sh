#!/usr/bin/env bash
# When a client leaves, one expects a reverse proxy to close its request to the server, so that a token stream
# nobody reads ends. http-proxy 1.18.1 (the newest; below many development servers and gateways) does not on
# Node 20: 5 s after the client destroyed its connection, the server's response is still open and being written
# to. A server behind it cannot tell that its reader left: a stop by closing the connection costs tokens to the
# end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts http-proxy@1.18.1) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import proxies from 'http-proxy';
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

let closed = false;
const server = http.createServer((_, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const timer = setInterval(() => response.write('data: token\n\n'), 50);
  response.on('close', () => (clearInterval(timer), (closed = true)));
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const proxy = proxies.createProxyServer({ target: `http://127.0.0.1:${server.address().port}` });
proxy.on('error', () => {});
const front = http.createServer((request, response) => proxy.web(request, response));
await new Promise((done) => front.listen(0, '127.0.0.1', done));
async function leaves(port) {
  closed = false;
  const request = http.get({ port, host: '127.0.0.1' }, (response) => response.once('data', () => request.destroy()));
  request.on('error', () => {});
  const end = Date.now() + 5000;
  while (!closed && Date.now() < end) await new Promise((done) => setTimeout(done, 20));
  return closed ? 'closed' : 'open after 5 s';
}
console.log('http-proxy 1.18.1, Node', process.version);
verdict('closed, closed', [await leaves(server.address().port), await leaves(front.address().port)], ['closed', 'open after 5 s']);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
