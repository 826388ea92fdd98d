/** Who signs out while files are read or sent: the page goes, and the next person finds nothing of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';

const GIF = Buffer.from('R0lGODlhAQABAIAAAP8AAP///ywAAAAAAQABAAACAkQBADs=', 'base64');
const FILES = [{ name: 'a.gif', mimeType: 'image/gif', buffer: GIF }, { name: 'b.txt', mimeType: 'text/plain', buffer: Buffer.from('a secret of its own') }];

/** A signed-in page that forgets everything at its sign-out, and then stays until `window.leave` is called. */
async function signedIn() {
  const server = await Server.start({ keys: [['--name', 'Ada']] });
  const page = await openPage(server, { ready: 'dialog' });
  await page.getByLabel('API key').fill(server.keys[0]);
  await page.keyboard.press('Enter');
  await page.locator('#who-name', { hasText: 'Ada' }).waitFor();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  await page.evaluate(() => {
    // Whether the built-in model sees does not matter here.
    document.querySelector('#model option').removeAttribute('data-blind');
    const real = IDBObjectStore.prototype.clear;
    IDBObjectStore.prototype.clear = function () {
      const request = real.call(this);
      const hold = (go) => request.addEventListener('success', () => (window.leave = go));
      if (this.name === 'bytes') Object.defineProperty(request, 'onsuccess', { set: hold });
      return request;
    };
  });
  return { server, page };
}

/** What is left in this browser: pictures, and the names of texts. */
const left = (page) => page.evaluate(async () => {
  const request = indexedDB.open('lastword-pictures', 1);
  const db = await new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  // A write that was asked for before comes before.
  const all = db.transaction('bytes', 'readwrite').objectStore('bytes').getAllKeys();
  const keys = await new Promise((resolve) => (all.onsuccess = () => resolve(all.result)));
  db.close();
  return [keys.length, Object.keys(localStorage).filter((name) => /draft|files|outbox/.test(name))];
});

/** The next person comes. */
async function next({ server, page }) {
  await page.evaluate(() => window.leave());
  await page.getByRole('dialog', { name: 'Sign in' }).waitFor();
  assert.deepEqual(await left(page), [0, []]);
  await page.done();
  await server.kill();
}

test('files that are still being read at the sign-out are kept nowhere', async () => {
  const here = await signedIn();
  const { page } = here;
  await page.evaluate(() => {
    const real = Blob.prototype.arrayBuffer;
    // The first file that is read as a whole is as slow as the test wants.
    Blob.prototype.arrayBuffer = async function () {
      if (this.size > 16 && !window.finish) await new Promise((resolve) => (window.finish = resolve));
      return real.call(this);
    };
  });
  await page.setInputFiles('#file', FILES);
  await page.waitForFunction(() => Boolean(window.finish));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForFunction(() => Boolean(window.leave));
  await page.evaluate(() => window.finish());
  await page.locator('#files li').nth(1).waitFor({ state: 'attached' });
  assert.deepEqual(await left(page), [0, []]);
  await next(here);
});

test('a prompt whose picture is on its way at the sign-out opens no conversation and is kept nowhere', async () => {
  const here = await signedIn();
  const { page } = here;
  let arrive;
  const gate = new Promise((resolve) => (arrive = resolve));
  await page.route('**/v1/pictures', async (route) => {
    await gate;
    await route.fulfill({ status: 201, json: { id: 'a'.repeat(64) } });
  });
  await page.evaluate(() => {
    const real = window.fetch;
    window.opened = 0;
    window.fetch = async (address, init) => {
      if (init?.method === 'POST' && String(address).endsWith('/v1/conversations')) window.opened += 1;
      const answer = await real(address, init);
      if (!String(address).endsWith('/v1/pictures')) return answer;
      const json = await answer.json();
      // What the page does with it begins before the next task.
      answer.json = async () => (setTimeout(() => (window.settled = true)), json);
      return answer;
    };
  });
  const sending = page.waitForRequest('**/v1/pictures');
  await page.setInputFiles('#file', FILES);
  await page.locator('#files li').nth(1).waitFor();
  await page.ask('a secret');
  await sending;
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Discard and sign out' }).click();
  await page.waitForFunction(() => Boolean(window.leave));
  arrive();
  await page.waitForFunction(() => Boolean(window.settled));
  assert.equal(await page.evaluate(() => window.opened), 0, 'no conversation was opened for it');
  assert.deepEqual(await left(page), [0, []]);
  await next(here);
});
