/** Pictures beside a prompt: by paste, drop and button, in order with the text, after a reload and a kill, and by a link. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { audit } from './axe.js';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';
import { Upstream } from './upstream.js';

/** A PNG of one colour, which says where it was made. */
function png(side, red) {
  const table = Array.from({ length: 256 }, (_, n) => Array.from({ length: 8 }).reduce((c) => (c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1), n));
  const crc = (bytes) => (bytes.reduce((c, byte) => table[(c ^ byte) & 255] ^ (c >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;
  const number = (n) => Buffer.from([n >>> 24, n >>> 16, n >>> 8, n]);
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    return Buffer.concat([number(data.length), body, number(crc(body))]);
  };
  const rows = Buffer.concat(Array.from({ length: side }, () => Buffer.concat([Buffer.from([0]), ...Array.from({ length: side }, () => Buffer.from([red, 80, 80]))])));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', Buffer.concat([number(side), number(side), Buffer.from([8, 2, 0, 0, 0])])),
    chunk('tEXt', Buffer.from('Location\0secret')), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

/** The smallest real ones of the other kinds: a pixel each. */
const GIF = Buffer.from('R0lGODlhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs=', 'base64');
const WEBP = Buffer.from('UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA', 'base64');

/** Drops or pastes files, as a browser does. */
const give = (page, kind, files) => page.evaluate(([kind, files]) => {
  const data = new DataTransfer();
  for (const { name, content } of files) data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
  document.getElementById('prompt').dispatchEvent(kind === 'drop' ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }) : new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}, [kind, files.map(({ name, content }) => ({ name, content: content.toString('base64') }))]);

/** Waits until so many pictures below `place` are drawn; the width of each, in its own pixels. */
async function drawn(page, place, count) {
  await page.waitForFunction(([place, count]) => {
    const all = [...document.querySelectorAll(`${place} .picture img`)];
    return all.length === count && all.every((image) => image.complete && image.naturalWidth > 0);
  }, [place, count]);
  return page.locator(`${place} .picture img`).evaluateAll((all) => all.map((image) => image.naturalWidth));
}

const stored = async (server, page) => (await server.get(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/messages`)).data;

/** A server whose model sees. */
async function seeing(more = {}) {
  const upstream = await Upstream.start();
  const env = { ...upstream.env(mkdtempSync(join(tmpdir(), 'lastword-pictures-'))), ...more };
  return { upstream, env, server: await Server.start({ env }) };
}

test('pictures go with the prompt in order, and stay over a reload, another version and a link', async () => {
  const { upstream, server } = await seeing();
  const page = await openPage(server);
  await page.setInputFiles('#file', { name: 'a.svg.png', mimeType: 'image/svg+xml', buffer: png(40, 200) });
  await drawn(page, '#files', 1);
  await give(page, 'drop', [{ name: 'b.txt', content: Buffer.from('words') }, { name: 'c.gif', content: GIF }]);
  await page.locator('#files li').nth(2).waitFor();
  await give(page, 'paste', [{ name: 'd.webp', content: WEBP }]);
  await drawn(page, '#files', 3);
  await audit(page, 'pictures');
  // They are a draft like the text.
  await page.fill('#prompt', 'look');
  await page.reload();
  assert.deepEqual(await drawn(page, '#files', 3), [40, 1, 1]);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.whole();
  assert.deepEqual(await drawn(page, '.message.user', 3), [40, 1, 1]);
  const [{ content }] = await stored(server, page);
  assert.deepEqual(content.map(({ type, text }) => text ?? type), ['look', 'image', '<file name="b.txt">\nwords\n</file>', 'image', 'image']);
  const told = upstream.asked[0];
  assert.deepEqual(told.map((part) => part.text ?? part.image_url.url.split(';')[0]), ['look', 'data:image/png', content[2].text, 'data:image/gif', 'data:image/webp']);
  assert.ok(!Buffer.from(told[1].image_url.url.split(',')[1], 'base64').includes('secret'), 'nobody learns where it was');
  await page.reload();
  await page.whole();
  assert.deepEqual(await drawn(page, '.message.user', 3), [40, 1, 1]);
  const box = await page.locator('.message.user .picture').first().boundingBox();
  assert.ok(box.width <= 130 && box.height <= 130, JSON.stringify(box));
  await audit(page, 'sent pictures');

  // Another version keeps them, also when it is made before any reload.
  await page.getByRole('button', { name: 'Edit and send again' }).click();
  await page.getByLabel('Edit your message').fill('look again');
  await page.keyboard.press('Enter');
  await page.locator('.message.user .count').waitFor();
  await page.whole();
  assert.deepEqual((await stored(server, page))[0].content, [{ type: 'text', text: 'look again' }, ...content.slice(1)]);

  // A stranger with a link sees those of its branch, and asks for nothing else.
  const { url } = await server.post(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/shares`, {});
  const guest = await openPage(server, { path: url.replace('/v1/shared/', '/shared/') });
  assert.deepEqual(await drawn(guest, '.message.user', 3), [40, 1, 1]);
  const sources = await guest.locator('.picture img').evaluateAll((all) => all.map((image) => new URL(image.src).pathname));
  assert.ok(sources.every((path) => path.startsWith(`${url}/pictures/`)), sources.join());
  await guest.done();
  await page.done();
  await server.kill();
  upstream.stop();
});

test('a picture waits for a server that is away, and its answer goes on after a kill', async () => {
  const own = { DATABASE_URL: undefined };
  const { upstream, env, server: first } = await seeing(own);
  let server = first;
  const page = await openPage(server);
  await server.kill({ keep: true });
  await page.setInputFiles('#file', { name: 'a.png', mimeType: '', buffer: png(30, 90) });
  await drawn(page, '#files', 1);
  await page.locator('#prompt').press('Enter');
  await page.getByText('Queued').waitFor();
  await drawn(page, '.message.user', 1);
  await page.getByRole('button', { name: 'Take back' }).click();
  assert.deepEqual(await drawn(page, '#files', 1), [30], 'back where it was');
  await page.locator('#prompt').press('Enter');
  await page.getByText('Queued').waitFor();
  server = await Server.start({ env, port: server.port, dir: server.dir });
  await page.locator('.message.assistant .text', { hasText: 'try1word' }).waitFor();
  await server.kill({ keep: true });
  server = await Server.start({ env, port: server.port, dir: server.dir });
  await page.whole();
  assert.deepEqual(await drawn(page, '.message.user', 1), [30]);
  assert.equal(upstream.asked.length, 2);
  assert.deepEqual(upstream.asked[1], upstream.asked[0], 'the model is shown it again');
  assert.equal(upstream.asked[0][0].type, 'image_url');
  await page.done();
  await server.kill();
  upstream.stop();
});

test('what cannot be seen is refused, and nothing is lost', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  const problem = page.locator('#problem');
  await page.setInputFiles('#file', { name: 'a.png', mimeType: 'image/png', buffer: png(8, 1) });
  await problem.getByText('a.png is a picture, and the model demo cannot see pictures.').waitFor();
  await page.setInputFiles('#file', { name: 'b.heic', mimeType: '', buffer: Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1') });
  await problem.getByText('b.heic is a picture that cannot be sent: PNG, JPEG, WebP and GIF can.').waitFor();
  await page.done();

  // A picture that looks like one and is none is told by the server; the prompt can be taken back.
  const { upstream, server: other } = await seeing();
  const broken = await openPage(other);
  await broken.setInputFiles('#file', { name: 'c.png', mimeType: '', buffer: png(8, 1).subarray(0, 40) });
  await broken.locator('#files li').waitFor();
  await broken.locator('#prompt').fill('see');
  await broken.locator('#prompt').press('Enter');
  await broken.getByText('Not sent: this image/png is broken or cut off').waitFor();
  await broken.getByRole('button', { name: 'Take back' }).click();
  assert.equal(await broken.locator('#prompt').inputValue(), 'see');
  assert.deepEqual(await broken.locator('#files .file-name').allInnerTexts(), ['c.png']);
  await broken.getByRole('button', { name: 'Remove c.png' }).click();
  await broken.getByRole('button', { name: 'Send' }).click();
  await broken.whole();
  await broken.done();
  await other.kill();
  upstream.stop();
});
