/** Files that nobody should send, and sends that break: what is refused is named, and nothing that was chosen is lost. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';
import { Upstream } from './upstream.js';

const GIF = Buffer.from('R0lGODlhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs=', 'base64');
const problem = (page) => page.locator('#problem');
const names = (page) => page.locator('#files .file-name').allInnerTexts();

/** A GIF of so many bytes that no other is like: zeros behind its end. */
const gif = (bytes, mark = 0) => Buffer.concat([GIF, Buffer.alloc(Math.max(0, bytes - GIF.length - 1)), Buffer.from([mark])]);

/** Drops files that the page makes itself, each of a few bytes and then zeros: nothing large goes over the debugger's wire. */
const drop = (page, files) => page.evaluate((files) => {
  const data = new DataTransfer();
  for (const { name, head, bytes } of files) {
    const content = new Uint8Array(bytes);
    content.set(Uint8Array.from(atob(head), (c) => c.charCodeAt(0)));
    data.items.add(new File([content], name));
  }
  document.getElementById('prompt').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
}, files.map(({ name, head, bytes }) => ({ name, head: head.toString('base64'), bytes: bytes ?? head.length })));

/** A server whose model sees, and goes on from a text. */
async function seeing(more = {}) {
  const upstream = await Upstream.start();
  const folder = mkdtempSync(join(tmpdir(), 'lastword-odd-'));
  const server = await Server.start({ env: { ...upstream.env(folder, 'prefix'), ...more } });
  const end = async () => {
    await server.kill();
    upstream.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { upstream, server, end };
}

test('files that cannot be sent are refused by name, and those beside them stay', async () => {
  const { server, end } = await seeing();
  const page = await openPage(server);
  await drop(page, [{ name: 'huge.gif', head: GIF, bytes: 20 * 1024 * 1024 }]);
  await problem(page).getByText('huge.gif is too large: a picture has 10 MB at most.').waitFor();
  const brand = (/** @type {string} */ four) => Buffer.from(`\0\0\0\x18ftyp${four}\0\0\0\0`, 'latin1');
  for (const [name, head] of /** @type {const} */ ([['live.heic', brand('hevc')], ['burst.heif', brand('msf1')], ['loop.avif', brand('avis')], ['a.jxl', Buffer.from([255, 10, 0, 0])], ['favicon.ico', Buffer.from([0, 0, 1, 0, 1, 0, 16])]])) {
    await drop(page, [{ name, head }, { name: 'ok.txt', head: Buffer.from('fine') }]);
    await problem(page).getByText(`${name} is a picture that cannot be sent: PNG, JPEG, WebP and GIF can.`).waitFor();
    assert.deepEqual(await names(page), ['ok.txt'], name);
    await page.getByRole('button', { name: 'Remove ok.txt' }).click();
  }
  await drop(page, [{ name: 'a.zip', head: Buffer.from('PK\x03\x04\0\0', 'latin1') }, { name: 'b.exe', head: Buffer.from('MZ\0\0', 'latin1') }, { name: 'c.gif', head: GIF }]);
  await problem(page).getByText('a.zip is no text file. 1 more cannot be sent either.').waitFor();
  assert.deepEqual(await names(page), ['c.gif']);
  // A drawing is text by its bytes, whatever its name says: it is never shown as a picture.
  await drop(page, [{ name: 'logo.png', head: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>') }]);
  await page.locator('#files li').nth(1).waitFor();
  assert.equal(await page.locator('#files .picture').count(), 1);
  await page.fill('#prompt', 'look');
  await page.keyboard.press('Enter');
  await page.whole();
  const { data: [message] } = await server.get(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/messages`);
  assert.deepEqual(message.content.map(({ type, text }) => text?.slice(0, 22) ?? type), ['look', 'image', '<file name="logo.png">']);
  await page.done();
  await end();
});

test('thirty pictures at once are sent in their order, and more than fit are refused before they are sent', async () => {
  const { upstream, server, end } = await seeing();
  const page = await openPage(server);
  const many = Array.from({ length: 30 }, (_, n) => ({ name: `${n}.gif`, mimeType: 'image/gif', buffer: gif(2000, n) }));
  await page.setInputFiles('#file', many);
  await page.locator('#files li').nth(29).waitFor();
  assert.deepEqual(await names(page), many.map(({ name }) => name));
  await page.locator('#prompt').press('Enter');
  await page.whole();
  assert.equal(upstream.asked[0].length, 30);
  const keys = await page.locator('.message.user .picture img').evaluateAll((all) => all.map(({ src }) => src));
  assert.equal(keys.length, 30);

  let sent = 0;
  page.on('request', (request) => (sent += Number(request.url().endsWith('/v1/pictures'))));
  await drop(page, [1, 2, 3, 4].map((n) => ({ name: `${n}.gif`, head: gif(GIF.length + 1, n), bytes: 9 * 1024 * 1024 })));
  await problem(page).getByText('3.gif is too much: the pictures of a prompt have 24 MB at most together. 1 more cannot be sent either.').waitFor();
  assert.deepEqual(await names(page), ['1.gif', '2.gif']);
  assert.equal(sent, 0);
  await page.done();
  await end();
});

test('a folder that is dropped is told from a file', async () => {
  const page = await openPage(await servers.first());
  const folder = mkdtempSync(join(tmpdir(), 'lastword-folder-'));
  mkdirSync(join(folder, 'photos'));
  writeFileSync(join(folder, 'notes.txt'), 'words');
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: [join(folder, 'photos'), join(folder, 'notes.txt')], dragOperationsMask: 1 };
  const { x, y } = await page.locator('#prompt').boundingBox();
  for (const type of ['dragEnter', 'dragOver', 'drop']) await devtools.send('Input.dispatchDragEvent', { type, x: x + 5, y: y + 5, data });
  await problem(page).getByText('photos is a folder: drop the files that are in it.').waitFor();
  await page.locator('#files li').waitFor();
  assert.deepEqual(await names(page), ['notes.txt']);
  await page.done();
  rmSync(folder, { recursive: true, force: true });
});

test('a picture whose sending breaks off is sent again, and its prompt once', async () => {
  const { upstream, server, end } = await seeing();
  const page = await openPage(server);
  let tries = 0;
  await page.route('**/v1/pictures', (route) => {
    tries += 1;
    if (tries === 1) return route.abort('connectionreset');
    if (tries === 2) return route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"status":503,"code":"overloaded","detail":"too much at once"}' });
    return route.continue();
  });
  await page.setInputFiles('#file', { name: 'a.gif', mimeType: 'image/gif', buffer: GIF });
  await page.locator('#files .picture').waitFor();
  await page.fill('#prompt', 'see');
  await page.keyboard.press('Enter');
  await page.getByText('Queued: too much at once.').waitFor();
  await page.whole();
  assert.equal(tries, 3);
  assert.equal(upstream.asked.length, 1);
  const { data } = await server.get(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/messages?all=true`);
  assert.equal(data.length, 2);
  await page.done();
  await end();
});

test('two tabs with one draft: what one sends, the other still has until it is told', async () => {
  const { upstream, server, end } = await seeing();
  const first = await openPage(server);
  await first.setInputFiles('#file', { name: 'a.gif', mimeType: 'image/gif', buffer: GIF });
  await first.locator('#files .picture').waitFor();
  const second = await openPage(server, { context: first.context() });
  await second.locator('#files .picture').waitFor();
  await second.locator('#prompt').press('Enter');
  await second.whole();
  await first.locator('#prompt').press('Enter');
  await first.whole();
  assert.equal(upstream.asked.length, 2);
  assert.deepEqual(upstream.asked[0], upstream.asked[1]);
  await second.done();
  await first.done();
  await end();
});

test('an answer about a picture goes on, and the model sees the picture again', async () => {
  const { upstream, server, end } = await seeing();
  upstream.stalls = 1;
  const page = await openPage(server);
  await page.setInputFiles('#file', { name: 'a.gif', mimeType: 'image/gif', buffer: GIF });
  await page.locator('#files .picture').waitFor();
  await page.fill('#prompt', 'what is it?');
  await page.keyboard.press('Enter');
  await page.grown(60);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await page.getByText('2 / 2').waitFor();
  const view = await server.view(await page.whole());
  const [before, after] = upstream.told;
  assert.deepEqual(after.slice(0, -1), before, 'the same question, with its picture');
  assert.match(before.at(-1).content[1].image_url.url, /^data:image\/gif;base64,/);
  assert.equal(after.at(-1).role, 'assistant');
  assert.ok(view.text.startsWith(after.at(-1).content), 'behind the text that was there');
  assert.equal(await page.locator('.message.user .picture').count(), 1);
  await page.done();
  await end();
});

test('who signs out leaves neither a text that was begun nor a picture', async () => {
  const server = await Server.start({ keys: [['--name', 'Ada']] });
  const page = await openPage(server, { ready: 'dialog' });
  await page.getByLabel('API key').fill(server.keys[0]);
  await page.keyboard.press('Enter');
  await page.locator('#who-name', { hasText: 'Ada' }).waitFor();
  // Whether the built-in model sees does not matter here.
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  await page.evaluate(() => document.querySelector('#model option').removeAttribute('data-blind'));
  await page.setInputFiles('#file', { name: 'a.gif', mimeType: 'image/gif', buffer: GIF });
  await page.locator('#files .picture').waitFor();
  await page.fill('#prompt', 'a secret');
  const left = () => page.evaluate(async () => {
    const request = indexedDB.open('lastword-pictures', 1);
    const db = await new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const all = db.transaction('bytes').objectStore('bytes').getAllKeys();
    const keys = await new Promise((resolve) => (all.onsuccess = () => resolve(all.result)));
    db.close();
    return [keys.length, Object.keys(localStorage).filter((name) => /draft|files/.test(name)).length, document.getElementById('prompt').value];
  });
  assert.deepEqual(await left(), [1, 2, 'a secret']);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('dialog', { name: 'Sign in' }).waitFor();
  assert.deepEqual(await left(), [0, 0, '']);
  await page.done();
  await server.kill();
});
