#!/usr/bin/env bash
# A JSON-RPC request is answered by a result or by an error. One expects that either ends the request's stream for an
# MCP client over streamable HTTP. @modelcontextprotocol/sdk 1.32.2 counts results only: after an error on a stream
# with ids the call fails as it should, and the client then asks for the rest of that stream, again and again. And
# a call taken up by `resumptionToken` gets a result under its new id, but an error under the old one: it is not
# recognized, and the call ends with a timeout. A server that answers that GET with 405 is not asked again.
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

const error = (id) => `id: 2\ndata: ${JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message: 'no such thing' } })}\n\n`;
const calm = await mcp((sse, id) => sse(priming + result(id)), (sse) => sse(priming));
const failed = await mcp((sse, id) => sse(priming + error(id)), (sse) => sse(priming));
const resumed = await mcp(() => {}, (sse) => sse(result(77)));
const lost = await mcp(() => {}, (sse) => sse(error(77)));
const count = async (at) => {
  const said = await call(at.client);
  await new Promise((done) => setTimeout(done, 1000));
  return [said, at.log.length > 2 ? 'many GETs' : at.log.length];
};
console.log('@modelcontextprotocol/sdk 1.32.2');
verdict('the result or "MCP error -32000: no such thing", and no GET', {
  result: await count(calm),
  error: await count(failed),
  'resumed, result': await call(resumed.client, { resumptionToken: '1' }),
  'resumed, error': await call(lost.client, { resumptionToken: '1' }),
}, {
  result: ['done', 0],
  error: ['MCP error -32000: no such thing', 'many GETs'],
  'resumed, result': 'done',
  'resumed, error': 'MCP error -32001: Request timed out',
});
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
