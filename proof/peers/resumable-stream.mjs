// The handlers of "Chatbot Resume Streams" in the AI SDK's documentation. `after` of Next.js keeps the process alive for a
// promise; a server that is always there needs nothing in its place.
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { UI_MESSAGE_STREAM_HEADERS, convertToModelMessages, generateId, streamText } from 'ai';
import { createClient } from 'redis';
import { createResumableStreamContext } from 'resumable-stream';

const upstream = createOpenAICompatible({ name: 'streamproof', baseURL: 'http://127.0.0.1:9100/v1', includeUsage: true });
const store = await createClient({ url: process.env.REDIS_URL }).connect();
const readChat = async (id) => JSON.parse((await store.get(`chat:${id}`)) ?? '{"messages":[],"activeStreamId":null}');
const saveChat = async ({ id, ...changed }) => store.set(`chat:${id}`, JSON.stringify({ ...(await readChat(id)), ...changed }));
const after = () => {};

async function post(body) {
  const { messages, id } = body;
  await saveChat({ id, messages, activeStreamId: null });
  const result = streamText({ model: upstream('streamproof'), messages: await convertToModelMessages(messages) });
  return result.toUIMessageStreamResponse({
    originalMessages: messages,
    generateMessageId: generateId,
    onFinish: ({ messages: all }) => saveChat({ id, messages: all, activeStreamId: null }),
    async consumeSseStream({ stream }) {
      const streamId = generateId();
      const context = createResumableStreamContext({ waitUntil: after });
      await context.createNewResumableStream(streamId, () => stream);
      await saveChat({ id, activeStreamId: streamId });
    },
  });
}

async function get(id) {
  const chat = await readChat(id);
  if (chat.activeStreamId == null) return new Response(null, { status: 204 });
  const context = createResumableStreamContext({ waitUntil: after });
  return new Response(await context.resumeExistingStream(chat.activeStreamId), { headers: UI_MESSAGE_STREAM_HEADERS });
}

createServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  const resumed = /^\/api\/chat\/([^/]+)\/stream$/.exec(request.url);
  // A route that throws is a 500, as in Next.js.
  const route = async () => (resumed ? get(decodeURIComponent(resumed[1])) : post(JSON.parse(text)));
  const answer = await route().catch((error) => new Response(String(error), { status: 500 }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.flushHeaders();
  if (answer.body) Readable.fromWeb(answer.body).on('error', () => response.destroy()).pipe(response);
  else response.end();
}).listen(Number(process.argv[2]), '127.0.0.1');
