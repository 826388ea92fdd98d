/** A newcomer's first hour: a slow server, every kind of failure, and no mouse. What happens is said, and nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';

const QUICK = '/demo tokens=5 tps=0 ttft_ms=0';
const env = { DATABASE_URL: undefined };

/** Holds requests up until `go` is called. */
async function slow(page, pattern) {
  let go = () => {};
  const held = new Promise((resolve) => (go = () => resolve(undefined)));
  await page.route(pattern, async (route) => {
    await held;
    await route.continue();
  });
  return () => go();
}

test('a slow server: what is awaited is said', async () => {
  const server = await servers.first();
  const title = `A slow one ${Date.now()}`;
  const { id } = await server.post('/v1/conversations', { title });
  const page = await openPage(server);
  const line = page.locator('#line');
  // A conversation that the list knows has its name at once.
  await page.locator('#conversations a', { hasText: title }).waitFor();
  let go = await slow(page, `**/v1/conversations/${id}**`);
  await page.locator('#conversations a', { hasText: title }).click();
  await page.locator('#title', { hasText: new RegExp(`^${title}$`) }).waitFor();
  await line.getByText('Opening…').waitFor();
  go();
  await line.filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
  // Models that were not to be had at first.
  let asked = 0;
  await page.route('**/v1/models', (route) => ((asked += 1) === 1 ? route.fulfill({ status: 503, json: {} }) : route.continue()));
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  assert.equal(asked, 2);
  // A prompt that is on its way.
  go = await slow(page, '**/v1/generations');
  await page.ask(QUICK);
  await line.getByText('Sending…').waitFor();
  go();
  await page.whole();
  await line.filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  // By its address, nothing is known yet; and what does not exist does not open for ever.
  go = await slow(page, `**/v1/conversations/${id}**`);
  await page.reload();
  await page.locator('#title', { hasText: /^Opening…$/ }).waitFor();
  go();
  await page.locator('#title', { hasText: new RegExp(`^${title}$`) }).waitFor();
  await page.goto(`${server.base}/c/0199aaaa-0000-7000-8000-000000000000`);
  await page.locator('#problem').getByText('does not exist').waitFor();
  await page.locator('#title', { hasText: /^Conversation$/ }).waitFor();
  await page.done();
});

test('a prompt that waits says for what', async () => {
  const page = await openPage(await servers.first());
  /** How the server answers now; one that is away has no status. @type {{ status: number, code?: string, detail?: string } | null} */
  let answer = { status: 503, code: 'overloaded', detail: 'as many answers run as this server makes at a time' };
  await page.route('**/v1/generations', (route) => {
    if (!answer) return route.continue();
    return answer.status ? route.fulfill({ status: answer.status, contentType: 'application/problem+json', body: JSON.stringify(answer) }) : route.abort('connectionrefused');
  });
  await page.ask(QUICK);
  await page.getByText('Queued: as many answers run as this server makes at a time.').waitFor();
  answer = { status: 0 };
  await page.getByText('Queued: it is sent when the server is back.').waitFor();
  answer = { status: 409, code: 'conversation_busy', detail: 'a generation of this conversation has not ended' };
  await page.getByText('Queued: the answer before it comes first.').waitFor();
  answer = { status: 403, code: 'forbidden', detail: 'this key may only read' };
  await page.getByText('Not sent: this key may only read').waitFor();
  answer = null;
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.whole();
  assert.equal(await page.locator('.queued:not([hidden])').count(), 0);
  await page.done();
});

test('the keys go on in the box where what was pressed is gone, and a phone’s keyboard stays down', async () => {
  const server = await servers.first();
  for (const phone of [false, true]) {
    const page = await openPage(server, phone ? { viewport: { width: 390, height: 760 }, hasTouch: true, isMobile: true } : {});
    const focused = () => page.evaluate(() => document.activeElement?.id === 'prompt');
    const press = async (/** @type {import('playwright-core').Locator} */ button) => {
      await button.focus();
      await page.keyboard.press('Enter');
    };
    await page.ask('/demo tokens=100000 tps=20 ttft_ms=0');
    await page.grown(20);
    await page.keyboard.press('Escape');
    await press(page.getByRole('button', { name: 'Continue', exact: true }));
    assert.equal(await focused(), !phone, 'Continue');
    await page.locator('.message.assistant.running').waitFor();
    await page.grown(40);
    await page.keyboard.press('Escape');
    await page.getByText('2 / 2').waitFor();
    await press(page.getByRole('button', { name: 'Previous version' }));
    await page.getByText('1 / 2').waitFor();
    await page.waitForFunction((wanted) => (document.activeElement?.id === 'prompt') === wanted, !phone);
    await page.setInputFiles('#file', { name: 'a.pdf', mimeType: '', buffer: Buffer.from('%PDF\0') });
    await press(page.locator('#problem').getByRole('button', { name: 'Dismiss' }));
    assert.equal(await focused(), !phone, 'Dismiss');
    await page.done();
  }
});

test('a refusal goes when it is past', async () => {
  const page = await openPage(await servers.first());
  await page.setInputFiles('#file', { name: 'a.pdf', mimeType: '', buffer: Buffer.from('%PDF\0') });
  await page.locator('#problem').getByText('a.pdf is no text file.').waitFor();
  await page.ask(QUICK);
  await page.whole();
  assert.equal(await page.locator('#problem').innerText(), '');
  await page.done();
});

test('what is pressed and fails is said, and works when the server is back', async () => {
  const server = await Server.start({ env });
  for (let n = 0; n < 42; n += 1) await server.post('/v1/conversations', { title: `number ${n}` });
  const page = await openPage(server);
  const said = page.locator('#problem').getByText('The server cannot be reached.');
  const once = async (/** @type {string} */ pattern, /** @type {() => Promise<any>} */ press) => {
    await page.route(pattern, (route) => route.abort('connectionrefused'));
    await press();
    await said.waitFor();
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.locator('#problem').getByRole('button', { name: 'Dismiss' }).click();
  };
  await page.ask(QUICK);
  await page.whole();
  await page.getByRole('button', { name: 'Answer again' }).click();
  await page.getByText('2 / 2').waitFor();
  await page.whole();
  await once('**/messages?all=true*', () => page.getByRole('button', { name: 'Previous version' }).click());
  await page.getByRole('button', { name: 'Previous version' }).click();
  await page.getByText('1 / 2').waitFor();
  await once('**/v1/conversations?*cursor*', () => page.locator('#older').click());
  await page.locator('#older').click();
  await page.locator('#conversations a').nth(42).waitFor();
  // A part of the page that has not been loaded yet.
  await page.route('**/dialogs.js*', (route) => route.abort('connectionrefused'));
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.locator('#problem').getByText('This needs the server, which cannot be reached.').waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByRole('dialog', { name: 'Settings' }).waitFor();
  await page.done();
  await server.kill();
});
