/** Prompts on their way: offline, from tabs that are gone, with replies that are lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage } from './harness.js';
import { servers } from './servers.js';

const QUICK = (/** @type {number} */ seed, tokens = 12) => `/demo tokens=${tokens} tps=0 ttft_ms=0 seed=${seed}`;

/** A page with one whole answer. */
async function begun(server, seed) {
  const page = await openPage(server);
  await page.ask(QUICK(seed));
  await page.whole();
  return page;
}

const id = (page) => new URL(page.url()).pathname.split('/')[2];

/** Requests of this kind do what `handle` says. */
const posts = (page, path, handle) => page.route(`**${path}`, (route) => (route.request().method() === 'POST' ? handle(route) : route.continue()));

/** The conversations that name themselves by this word. */
const named = async (server, word) => (await server.get(`/v1/conversations?q=${word}`)).data;

test('a prompt that is written offline is sent once, when the network is back', async () => {
  const server = await servers.first();
  const page = await begun(server, 15);
  await page.context().setOffline(true);
  await page.locator('#chip[data-phase="offline"]').waitFor();
  await page.ask(QUICK(16));
  await page.getByText('Queued: you are offline').waitFor();
  await page.context().setOffline(false);
  await page.whole(1);
  const { data } = await server.get(`/v1/conversations/${id(page)}/messages?all=true`);
  assert.equal(data.length, 4);
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith('lastword.outbox'))), []);
  await page.done();
});

test('a prompt of a tab that was closed too early is sent by another tab', async () => {
  const server = await servers.first();
  const page = await begun(server, 61);
  const other = await openPage(server, { context: page.context(), path: new URL(page.url()).pathname });
  await other.whole();
  await page.context().setOffline(true);
  await page.locator('#chip[data-phase="offline"]').waitFor();
  await page.ask(QUICK(62));
  await page.getByText('Queued: you are offline').waitFor();
  await other.getByText('Queued: you are offline').waitFor();
  await page.close();
  await other.context().setOffline(false);
  await other.whole(1);
  const { data } = await server.get(`/v1/generations?conversation_id=${id(other)}`);
  assert.equal(data.length, 2);
  await other.done();
  await other.context().close();
});

test('a start whose answer is lost is not made twice', async () => {
  const server = await servers.first();
  const page = await begun(server, 17);
  let lost = 0;
  await page.route('**/v1/generations', async (route) => {
    if (route.request().method() !== 'POST' || lost > 0) return route.continue();
    lost += 1;
    await route.fetch();
    await route.abort('connectionreset');
  });
  await page.ask(QUICK(18));
  await page.whole(1);
  assert.equal(lost, 1);
  const { data } = await server.get(`/v1/generations?conversation_id=${id(page)}`);
  assert.equal(data.length, 2);
  await page.done();
});

test('a failure offers another try', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  let body;
  await page.route('**/v1/generations', async (route) => {
    if (route.request().method() !== 'POST' || body) return route.continue();
    body = { ...route.request().postDataJSON(), model: 'nobody' };
    await route.continue({ postData: JSON.stringify(body) });
  });
  await page.ask(QUICK(19));
  await page.getByText(/Not sent: .*nobody/).waitFor();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.whole();
  assert.equal(await page.locator('.message').count(), 2);
  await page.done();
});

test('an opening whose answer is lost is not made twice', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  let opened;
  await posts(page, '/v1/conversations', async (route) => {
    if (opened) return route.continue();
    opened = (await (await route.fetch()).json()).id;
    await route.abort('connectionreset');
  });
  await page.ask(QUICK(81));
  await page.whole();
  assert.equal(id(page), opened, 'the second try finds what the first one opened');
  await page.done();
});

test('prompts that wait for the same new conversation are shown, kept over a reload, and sent in order', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  let reachable = false;
  await posts(page, '/v1/conversations', (route) => (reachable ? route.continue() : route.abort('connectionreset')));
  const asked = [`${QUICK(82)} numbat`, `${QUICK(83)} numbat`, `${QUICK(84)} numbat`];
  for (const text of asked) await page.ask(text);
  const bubbles = page.locator('.bubble');
  await bubbles.nth(2).waitFor();
  assert.deepEqual(await bubbles.allInnerTexts(), asked);
  await page.reload();
  await bubbles.nth(2).waitFor();
  assert.deepEqual(await bubbles.allInnerTexts(), asked);
  reachable = true;
  await page.whole(2);
  assert.deepEqual(await bubbles.allInnerTexts(), asked);
  assert.deepEqual((await named(server, 'numbat')).map((c) => c.id), [id(page)]);
  const { data } = await server.get(`/v1/conversations/${id(page)}/messages?all=true`);
  assert.deepEqual(data.map((m) => m.role), ['user', 'assistant', 'user', 'assistant', 'user', 'assistant']);
  await page.done();
});

test('a new conversation is another one, while prompts of the last one wait', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  let reachable = false;
  await posts(page, '/v1/conversations', (route) => (reachable ? route.continue() : route.abort('connectionreset')));
  await page.ask(`${QUICK(85)} bilby`);
  await page.locator('.bubble').waitFor();
  await page.locator('#new').click();
  await page.locator('.empty').waitFor();
  await page.ask(`${QUICK(86)} bilby`);
  assert.equal(await page.locator('.bubble').count(), 1);
  await page.goBack();
  await page.locator('.bubble', { hasText: QUICK(85) }).waitFor();
  reachable = true;
  await page.whole();
  await page.waitForFunction(() => !Object.keys(localStorage).some((name) => name.startsWith('lastword.outbox')));
  const titles = (await named(server, 'bilby')).map((c) => c.title).toSorted();
  assert.deepEqual(titles, [`${QUICK(85)} bilby`, `${QUICK(86)} bilby`]);
  await page.done();
});
