// resumable-stream with Redis behind the least of an HTTP server. GET /?id=…&tokens=…&tps=…&ttft_ms=… streams one
// generation, made here by the clock, so that its price is that of the library and of Node. Prints its port.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.PEERS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { createResumableStreamContext } = await load('resumable-stream');
// Without clients of one's own it makes them by REDIS_URL, and connects them.
const context = createResumableStreamContext({ waitUntil: null });

function generation(tokens, tps, ttft) {
  const begun = Date.now() + ttft;
  let made = 0;
  let timer;
  return new ReadableStream({
    start(controller) {
      const tell = () => {
        const now = Date.now();
        for (; made < tokens; made += 1) {
          const due = begun + (made * 1000) / tps;
          if (due > now) {
            timer = setTimeout(tell, due - now);
            return;
          }
          const seq = made + 2;
          const text = `@${String(Math.round(due * 1000)).padStart(16, '0')} `;
          controller.enqueue(`id: ${seq}\nevent: delta\ndata: ${JSON.stringify({ seq, type: 'delta', text })}\n\n`);
        }
        controller.close();
      };
      tell();
    },
    cancel() {
      clearTimeout(timer);
    },
  });
}

const server = createServer(async (request, response) => {
  const asked = new URL(request.url, 'http://localhost').searchParams;
  const number = (name) => Number(asked.get(name));
  const make = () => generation(number('tokens'), number('tps'), number('ttft_ms'));
  const stream = await context.resumableStream(asked.get('id'), make);
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  response.flushHeaders();
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) response.write(part.value);
  response.end();
});
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
