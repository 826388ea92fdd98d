#!/usr/bin/env bash
# A server that dies in mid answer leaves a body without its last chunk. One expects a proxy to break the
# client's stream, too, so that the client can tell a cut from an end. HAProxy 2.6.12 (Debian 12) does over
# HTTP/1.1; over HTTP/2 to the client it ends the stream cleanly. So behind it only an ending inside the stream
# (`[DONE]`, a last event) tells whether the answer is whole.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && apt-get download haproxy=2.6.12-1+deb12u3 && dpkg -x haproxy_*.deb root && root/usr/sbin/haproxy -v) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import http2 from 'node:http2';
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

const program = `${process.cwd()}/root/usr/sbin/haproxy`;
console.log(execFileSync(program, ['-v']).toString().split('\n')[0]);
const free = () => new Promise((done) => {
  const probe = http.createServer().listen(0, '127.0.0.1', () => { const { port } = probe.address(); probe.close(() => done(port)); });
});
/** HAProxy in HTTP mode before this port, one listener for HTTP/1.1 and one for HTTP/2 without TLS. */
async function haproxy(to, run) {
  const [one, two] = [await free(), await free()];
  writeFileSync('haproxy.cfg', `defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\nlisten one\n bind 127.0.0.1:${one}\n server s 127.0.0.1:${to}\nlisten two\n bind 127.0.0.1:${two} proto h2\n server s 127.0.0.1:${to}\n`);
  const child = spawn(program, ['-db', '-f', 'haproxy.cfg'], { stdio: 'ignore' });
  try {
    for (let n = 0; n < 100; n++) {
      const up = await fetch(`http://127.0.0.1:${one}/up`).then((r) => (r.body?.cancel(), true), () => false);
      if (up) break;
      await new Promise((done) => setTimeout(done, 50));
    }
    return await run(one, two);
  } finally {
    child.kill('SIGKILL');
  }
}
/** Times of the pieces and how the body ended, over HTTP/1.1. */
const overOne = (port) => new Promise((done) => {
  const times = [];
  http.get({ port, host: '127.0.0.1' }, (response) => {
    response.on('data', () => times.push(Date.now()));
    response.on('end', () => done({ end: 'clean', times }));
    response.on('error', () => done({ end: 'broken', times }));
  });
});
const overTwo = (port) => new Promise((done) => {
  const times = [];
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const request = session.request({ ':path': '/' });
  request.on('data', () => times.push(Date.now()));
  request.on('end', () => (session.destroy(), done({ end: 'clean', times })));
  request.on('error', () => (session.destroy(), done({ end: 'broken', times })));
});
const port = Number((await serve(['data: one\n\n', 'data: two\n\n'], { cut: true })).split(':')[2]);
const seen = await haproxy(port, async (one, two) => [(await overOne(one)).end, (await overTwo(two)).end]);
verdict('broken over both', seen, ['broken', 'clean']);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
