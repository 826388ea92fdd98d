#!/usr/bin/env bash
# MCP over streamable HTTP: a server may close the stream of a tool call after an event with an id, and the client
# comes back with `Last-Event-ID` until the result is there. One expects it to keep that id until a newer one comes,
# as EventSource does. @modelcontextprotocol/sdk 1.32.2 keeps it for one reconnection: when that stream closes
# without an event (nothing new yet), the next GET has no `Last-Event-ID`, which asks for another stream, and the
# call ends with a timeout. A server must begin each resumed stream with an event that has an id.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @modelcontextprotocol/sdk@1.32.2) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import http from 'node:http';

/** A streamable HTTP server of one session: `onCall` answers each tool call, `onGet` each GET with a position. */
async function mcp(onCall, onGet) {
  const log = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => (body += piece));
    request.on('end', () => {
      const json = (value) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
      const sse = (text) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
      if (request.method === 'GET') {
        const position = request.headers['last-event-id'];
        log.push(position === undefined ? 'GET' : `GET after ${position}`);
        return position === undefined ? response.writeHead(405).end() : onGet(sse, log);
      }
      const { id, method, params } = JSON.parse(body);
      if (id === undefined) return response.writeHead(202).end();
      if (method !== 'initialize') return onCall(sse, id);
      return json({ jsonrpc: '2.0', id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } } });
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const client = new Client({ name: 'c', version: '1' });
  client.onerror = () => {};
  await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${server.address().port}/mcp`)));
  await new Promise((done) => setTimeout(done, 200));
  log.length = 0;
  return { client, log };
}
async function call(client, options = {}) {
  try {
    const params = { name: 't', arguments: {} };
    return (await client.request({ method: 'tools/call', params }, CallToolResultSchema, { timeout: 3000, ...options })).content[0].text;
  } catch (error) {
    return error.message;
  }
}
const priming = 'id: 1\nretry: 20\ndata:\n\n';
const result = (id) => `id: 2\ndata: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'done' }] } })}\n\n`;
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

let id;
const open = (sse, n) => ((id = n), sse(priming));
const once = await mcp(open, (sse) => sse(result(id)));
const twice = await mcp(open, (sse, log) => sse(log.length < 2 ? ': nothing yet\n\n' : result(id)));
const again = await mcp(open, (sse, log) => sse(log.length < 2 ? priming : result(id)));
console.log('@modelcontextprotocol/sdk 1.32.2');
verdict('done, done, done: with "GET after 1" each time', {
  'one cut': [await call(once.client), once.log],
  'two cuts': [await call(twice.client), twice.log],
  'two cuts, an id in each': [await call(again.client), again.log],
}, {
  'one cut': ['done', ['GET after 1']],
  'two cuts': ['MCP error -32001: Request timed out', ['GET after 1', 'GET']],
  'two cuts, an id in each': ['done', ['GET after 1', 'GET after 1']],
});
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
