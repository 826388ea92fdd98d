/** The last conversations stay readable while the server is away, for who read them and for nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';

const QUICK = '/demo tokens=12 tps=0 ttft_ms=0';
const env = { DATABASE_URL: undefined };

/** The ids of what this browser keeps, what was read first in front. */
const kept = (page) => page.evaluate(async () => {
  // Opening makes one, and that is for the page to do.
  if (!(await indexedDB.databases()).some(({ name }) => name === 'lastword')) return [];
  const result = (/** @type {IDBRequest} */ request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const db = await result(indexedDB.open('lastword'));
  const ids = (await result(db.transaction('copies').objectStore('copies').index('at').getAll())).map(({ id }) => id);
  db.close();
  return ids;
});

/** Waits until so many are kept. */
async function keeps(page, count) {
  let ids = await kept(page);
  for (const end = Date.now() + 30_000; ids.length !== count && Date.now() < end; ids = await kept(page)) await page.evaluate(() => new Promise(requestAnimationFrame));
  assert.equal(ids.length, count);
  return ids;
}

const here = (page) => new URL(page.url()).pathname.split('/')[2];

test('what was read stays readable while the server is dead, also after a reload', async () => {
  let server = await Server.start({ env });
  const page = await openPage(server, { serviceWorkers: 'allow' });
  await page.ask(`${QUICK} seed=3`);
  await page.whole();
  const first = await page.says();
  await page.ask(`${QUICK} seed=4`);
  await page.whole(1);
  const [one] = await keeps(page, 1);
  await page.locator('#new').click();
  await page.ask(`${QUICK} seed=5`);
  await page.whole();
  const last = await page.says();
  await keeps(page, 2);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });

  await server.kill({ keep: true });
  await page.reload();
  await page.whole();
  assert.equal(await page.says(), last);
  await page.locator('#line', { hasText: /The server cannot be reached\. Shown as it was at/ }).waitFor();
  await page.getByText('Kept on this device.').waitFor();
  assert.equal(await page.locator('#conversations a').count(), 2);
  await page.locator(`#conversations a[href="/c/${one}"]`).click();
  await page.whole(1);
  assert.equal(await page.says(), first);
  await page.fill('#search', 'seed=5');
  await page.locator('#conversations a').nth(1).waitFor({ state: 'detached' });
  assert.equal(await page.locator('#conversations a').count(), 1);
  await page.fill('#search', '');

  // A prompt that is written now goes on from the shown text, once there is a server again.
  await page.ask(`${QUICK} seed=6`);
  await page.getByText('Queued').waitFor();
  server = await Server.start({ env, port: server.port, dir: server.dir });
  await page.whole(2);
  await page.locator('#line', { hasText: 'cannot be reached' }).waitFor({ state: 'detached' });
  assert.equal((await server.get(`/v1/conversations/${one}/messages`)).data.length, 6);
  await page.done();
  await server.kill();
});

test('the last twenty are kept, and what is erased is not', async () => {
  const server = await Server.start({ env });
  const ids = [];
  for (let n = 0; n < 22; n += 1) {
    const { id } = await server.post('/v1/conversations', {});
    await server.view((await server.post('/v1/generations', { conversation_id: id, prompt: `${QUICK} seed=${n}` })).id);
    ids.push(id);
  }
  const page = await openPage(server, { path: `/c/${ids[0]}` });
  await keeps(page, 1);
  for (const id of ids.slice(1)) {
    await page.locator(`#conversations a[href="/c/${id}"]`).click();
    await page.waitForURL(`**/c/${id}`);
    await page.whole();
  }
  let now = await kept(page);
  for (const end = Date.now() + 30_000; now.at(-1) !== ids[21] && Date.now() < end; now = await kept(page)) await page.evaluate(() => new Promise(requestAnimationFrame));
  assert.deepEqual(now, ids.slice(2));
  await page.locator('#conversations li', { has: page.locator(`a[href="/c/${ids[21]}"]`) }).hover();
  await page.locator(`[data-key="menu ${ids[21]}"]`).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await keeps(page, 19);
  await page.done();
  await server.kill();
});

/** @param {any} page @param {string} key */
async function signIn(page, key) {
  await page.getByLabel('API key').fill(key);
  await page.keyboard.press('Enter');
  await page.locator('#who-name').waitFor();
}

async function wish(page) {
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByLabel('Keep my last 20 conversations on this device').check();
  await page.getByRole('button', { name: 'Save' }).click();
}

test('with a key nothing is kept unless asked, and sign-out and a 401 erase it', async () => {
  const server = await Server.start({ env, keys: [['--name', 'ada'], ['--name', 'bob', '--tenant', 'other']] });
  const page = await openPage(server, { ready: 'dialog' });
  await signIn(page, server.keys[0]);
  await page.ask(`${QUICK} seed=1`);
  await page.whole();
  await page.getByRole('button', { name: 'Settings' }).click();
  assert.equal(await page.getByLabel('Keep my last 20 conversations on this device').isChecked(), false);
  await page.keyboard.press('Escape');
  assert.deepEqual(await kept(page), []);
  await wish(page);
  const ids = await keeps(page, 1);
  assert.deepEqual(ids, [here(page)]);

  // The next reader of this browser finds nothing, and has not asked for anything.
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('dialog').waitFor();
  assert.deepEqual(await kept(page), []);
  await signIn(page, server.keys[1]);
  await page.ask(`${QUICK} seed=2`);
  await page.whole();
  await page.reload();
  await page.locator('#who-name', { hasText: 'bob' }).waitFor();
  assert.deepEqual(await kept(page), []);

  // A session that ends elsewhere: the first 401 erases.
  await wish(page);
  await keeps(page, 1);
  await page.context().clearCookies();
  await page.reload();
  await page.getByRole('dialog').waitFor();
  await keeps(page, 0);
  await page.done();
  await server.kill();
});

test('a copy is readable no longer than the session that made it', async () => {
  const server = await Server.start({ env, keys: [['--name', 'ada']] });
  const page = await openPage(server, { ready: 'dialog', serviceWorkers: 'allow' });
  await signIn(page, server.keys[0]);
  await page.ask(`${QUICK} seed=1`);
  await page.whole();
  await wish(page);
  await keeps(page, 1);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.reload();
  await page.locator('#who-name', { hasText: 'ada' }).waitFor();
  await server.kill({ keep: true });
  await page.reload();
  await page.whole();
  await page.clock.setFixedTime(Date.now() + 8 * 86_400_000);
  await page.reload();
  await page.locator('#line', { hasText: 'shown when it is back' }).waitFor();
  assert.equal(await page.locator('.message').count(), 0);
  // The line stands there before the last copy is erased.
  await keeps(page, 0);
  await page.done();
  await server.kill();
});
