#!/usr/bin/env bash
# `timeout` of axios with `responseType: "stream"` in Node covers the wait for the headers; an answer that streams
# longer is read to its end. One expects the same with `adapter: "fetch"`, which a browser or a worker needs for
# streams. With axios 1.21.1 it covers the whole body there: an answer that takes longer than `timeout` fails in its
# middle with "timeout of 1000ms exceeded", though pieces come all the time. Set `timeout: 0` and a signal of your
# own.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts axios@1.21.1) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import axios from 'axios';
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
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const url = await serve(Array.from({ length: 8 }, (_, n) => `data: ${n}\n\n`), { pause: 300 });
async function read(adapter) {
  let pieces = 0;
  try {
    const { data } = await axios.get(url, { responseType: 'stream', timeout: 1000, adapter });
    for await (const piece of data) pieces += String(Buffer.from(piece)).split('data:').length - 1;
    return `${pieces} events`;
  } catch (error) {
    return `${pieces < 8 ? 'fewer' : pieces} events, ${error.message}`;
  }
}
console.log('axios 1.21.1');
verdict('8 events twice', { http: await read('http'), fetch: await read('fetch') }, {
  http: '8 events', fetch: 'fewer events, timeout of 1000ms exceeded',
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
