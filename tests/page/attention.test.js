/** The signals for a person who looks elsewhere, and who is signed in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, browser, openPage } from './harness.js';
import { servers } from './servers.js';

const icon = (page) => page.locator('link[rel="icon"]').getAttribute('href');

/** Makes the page believe that it is hidden, or seen again: a headless browser shows all its tabs. */
const hide = (page, hidden) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);

test('title and icon tell that an answer is made, and that it is ready until one looks', async () => {
  const context = await (await browser()).newContext({ viewport: { width: 1000, height: 700 } });
  await context.addInitScript(() => {
    window.notes = [];
    window.Notification = class {
      static permission = 'default';
      static requestPermission = async () => (this.permission = 'granted');
      constructor(title, options) {
        window.notes.push([title, options.body]);
      }
    };
  });
  const page = await openPage(await servers.first(), { context });
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByLabel('Notify me').check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.ask('/demo tokens=240 tps=30');
  await page.waitForFunction(() => document.title.startsWith('… '));
  assert.match(await icon(page), /icon-answering\.svg$/);
  await hide(page, true);
  await page.whole();
  await page.waitForFunction(() => document.title.startsWith('● Demo: 240 tokens'));
  assert.match(await icon(page), /icon-ready\.svg$/);
  const [[title, body], ...more] = await page.evaluate(() => window.notes);
  assert.deepEqual([title, more], ['Demo: 240 tokens', []]);
  assert.match(body, /^This is lastword/);
  await hide(page, false);
  await page.waitForFunction(() => document.title === 'Demo: 240 tokens · lastword');
  assert.match(await icon(page), /icon\.svg$/);
  // A person who looks is told nothing.
  await page.ask('/demo tokens=2 tps=0');
  await page.whole(1);
  assert.equal((await page.evaluate(() => window.notes)).length, 1);
  await page.done();
  await context.close();
});

test('who is signed in is told, and can sign out', async () => {
  const server = await Server.start({ keys: [['--name', 'Ada']] });
  const page = await openPage(server, { ready: 'dialog' });
  await page.getByLabel('API key').fill(server.keys[0]);
  await page.keyboard.press('Enter');
  await page.locator('#who-name', { hasText: 'Ada' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('dialog', { name: 'Sign in' }).waitFor();
  assert.equal(await page.locator('#who').isVisible(), false);
  await page.done();
  await server.kill();
});

test('a prompt that waits does not outlive the sign-out', async () => {
  const server = await Server.start({ keys: [['--name', 'Ada']] });
  const page = await openPage(server, { ready: 'dialog' });
  const kept = () => page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith('lastword.outbox.')).length);
  await page.getByLabel('API key').fill(server.keys[0]);
  await page.keyboard.press('Enter');
  await page.locator('#who-name', { hasText: 'Ada' }).waitFor();
  await page.route('**/v1/generations', (route) => route.fulfill({ status: 503, json: {} }));
  await page.ask('a secret');
  await page.locator('.message.user', { hasText: 'a secret' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await kept(), 1, 'one who thinks better of it keeps it');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Discard and sign out' }).click();
  await page.getByRole('dialog', { name: 'Sign in' }).waitFor();
  assert.equal(await kept(), 0);
  await page.done();
  await server.kill();
});

test('a conversation that answers is stopped and deleted in one go', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask('/demo tokens=100000 tps=20 seed=97');
  await page.grown(20);
  const id = new URL(page.url()).pathname.split('/')[2];
  await page.locator('#conversations li').filter({ has: page.locator('[aria-current]') }).hover();
  await page.locator('#conversations li').filter({ has: page.locator('[aria-current]') }).getByRole('button').click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Stop and delete' }).click();
  await page.waitForURL((url) => url.pathname === '/');
  assert.equal((await server.get(`/v1/conversations/${id}`)).code, 'not_found');
  await page.done();
});

test('a file that is dropped is not opened, an address that is none is a page', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  const prevented = await page.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(['x'], 'x.txt'));
    return ['dragover', 'drop'].map((type) => !document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true })));
  });
  assert.deepEqual(prevented, [true, true]);
  await page.locator('#files', { hasText: 'x.txt' }).waitFor();
  const response = await page.goto(`${server.base}/nothing/here`);
  assert.equal(response.status(), 404);
  await page.getByText('There is nothing at this address').waitFor();
  page.wrong.length = 0;
  await page.done();
});

test('arrows walk through the list, and the Tab key has two stops in it', async () => {
  const server = await Server.start({ env: { DATABASE_URL: undefined } });
  for (let n = 0; n < 5; n += 1) await server.post('/v1/conversations', { title: `number ${n}` });
  const page = await openPage(server);
  await page.locator('#conversations a').nth(4).waitFor();
  assert.equal(await page.locator('#conversations [tabindex="0"]').count(), 2);
  await page.locator('#search').focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'number 2');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Actions for number 2');
  await page.done();
  await server.kill();
});
