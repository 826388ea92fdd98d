/** The actions of people on a conversation. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openPage } from './harness.js';
import { servers } from './servers.js';

const QUICK = (/** @type {number} */ seed, tokens = 12) => `/demo tokens=${tokens} tps=0 ttft_ms=0 seed=${seed}`;
const LONG = '/demo tokens=3000 tps=40 seed=1';

/** A page with one whole answer. */
async function begun(server, seed) {
  const page = await openPage(server);
  await page.ask(QUICK(seed));
  await page.whole();
  return page;
}

const id = (page) => new URL(page.url()).pathname.split('/')[2];

test('Esc stops, and shows a receipt that is true', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask(LONG);
  await page.grown(60);
  assert.equal(await page.locator('#send').getAttribute('aria-label'), 'Stop');
  await page.keyboard.press('Escape');
  const note = page.locator('.message.assistant .note');
  await note.waitFor();
  const view = await server.get(`/v1/generations/${await page.whole()}`);
  assert.equal(view.status, 'cancelled');
  assert.match(await note.innerText(), new RegExp(`Stopped at event ${view.last_seq}\\b.*about \\d+ tokens`));
  assert.equal((await page.locator('.text').innerText()).replace(/\s+/g, ' ').trim(), view.text.replace(/\s+/g, ' ').trim());
  await page.done();
});

test('another answer, another question, and the way between them', async () => {
  const server = await servers.first();
  const page = await begun(server, 11);
  await page.getByRole('button', { name: 'Answer again' }).click();
  await page.getByText('2 / 2').waitFor();
  await page.getByRole('button', { name: 'Previous version' }).click();
  await page.getByText('1 / 2').waitFor();
  await page.locator('.message.user').hover();
  await page.getByRole('button', { name: 'Edit and send again' }).click();
  await page.getByLabel('Edit your message').fill(QUICK(12));
  await page.keyboard.press('Enter');
  await page.locator('.message.user .count').waitFor();
  assert.equal(await page.locator('.message.user .bubble').innerText(), QUICK(12));
  await page.whole();
  assert.equal(await page.locator('.message').count(), 2);
  await page.locator('.message.user').getByRole('button', { name: 'Previous version' }).click();
  await page.locator('.bubble', { hasText: QUICK(11) }).waitFor();
  const { data } = await server.get(`/v1/conversations/${id(page)}/messages?all=true`);
  assert.equal(data.length, 5, 'nothing was overwritten');
  await page.done();
});

test('an older question is answered anew while another answer comes', async () => {
  const server = await servers.first();
  const page = await begun(server, 21);
  await page.ask(LONG);
  await page.grown(20);
  const [, running] = await Promise.all([page.locator('.message.user').nth(1).waitFor(), page.locator('.message.assistant').nth(1).getAttribute('data-id')]);
  await page.locator('.message.assistant').first().hover();
  await page.getByRole('button', { name: 'Answer again' }).first().click();
  await page.getByText('2 / 2').waitFor();
  await page.whole();
  assert.equal(await page.locator('.message').count(), 2, 'the branch of the new answer');
  assert.equal((await server.get(`/v1/generations/${running}`)).status, 'running');
  assert.equal(await page.locator('#send').getAttribute('aria-label'), 'Send', 'this branch is free');
  await page.getByRole('button', { name: 'Previous version' }).click();
  await page.locator('.message.assistant.running').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.note:not([hidden])').waitFor();
  assert.equal((await server.get(`/v1/generations/${running}`)).status, 'cancelled');
  await page.done();
});

test('a conversation that comes in many pages is whole, on the page and exported', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  // A page has a thousand messages; here it has two.
  await page.route('**/messages?*', (route) => route.continue({ url: `${route.request().url()}&limit=2` }));
  for (const seed of [22, 23, 24]) {
    await page.ask(QUICK(seed));
    await page.whole(seed - 22);
  }
  await page.reload();
  await page.whole(2);
  assert.deepEqual(await page.locator('.bubble').allInnerTexts(), [22, 23, 24].map((seed) => QUICK(seed)));
  await page.locator('#conversations li.here').getByRole('button').click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Export as JSON' }).click()]);
  assert.equal(JSON.parse(readFileSync(await download.path(), 'utf8')).messages.length, 6);
  await page.done();
});

test('a prompt that is written while an answer comes waits for its turn', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  const slow = '/demo tokens=20000 tps=50 seed=13';
  await page.ask(slow);
  await page.grown(10);
  await page.fill('#prompt', QUICK(14));
  assert.equal(await page.locator('#send').getAttribute('aria-label'), 'Queue');
  await page.keyboard.press('Enter');
  await page.getByText('Queued').waitFor();
  await page.keyboard.press('Escape');
  await page.whole(1);
  assert.deepEqual(await page.locator('.bubble').allInnerTexts(), [slow, QUICK(14)]);
  const { data } = await server.get(`/v1/conversations/${id(page)}/messages`);
  assert.deepEqual(data.map((m) => m.role), ['user', 'assistant', 'user', 'assistant']);
  await page.done();
});

test('search, rename, export, share and delete', async () => {
  const server = await servers.first();
  const page = await begun(server, 20);
  const list = page.locator('#conversations li');
  const act = async (/** @type {string} */ name) => {
    await list.filter({ has: page.locator('[aria-current]') }).getByRole('button').click();
    await page.getByRole('menuitem', { name }).click();
  };
  await act('Rename');
  await page.getByRole('dialog').getByRole('textbox').fill('Zebras and quaggas');
  await page.keyboard.press('Enter');
  await page.locator('h1', { hasText: 'Zebras and quaggas' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('quagga');
  await page.locator('#conversations li:only-child', { hasText: 'Zebras' }).waitFor();
  for (const [name, ending] of [['Export as Markdown', 'md'], ['Export as JSON', 'json']]) {
    const [download] = await Promise.all([page.waitForEvent('download'), act(name)]);
    assert.equal(download.suggestedFilename(), `Zebras-and-quaggas.${ending}`);
    const text = readFileSync(await download.path(), 'utf8');
    assert.ok(text.includes(QUICK(20)), text);
    if (ending === 'json') assert.equal(JSON.parse(text).messages.length, 2);
  }
  await act('Share a read-only link');
  const link = await page.getByLabel('Link', { exact: true }).inputValue();
  const guest = await openPage(server, { path: new URL(link).pathname });
  await guest.locator('.message.assistant').waitFor();
  assert.equal(await guest.locator('#composer').isVisible(), false);
  assert.equal(await guest.locator('.bubble').innerText(), QUICK(20));
  await page.getByRole('button', { name: 'Stop sharing' }).click();
  await page.getByText('are void now').waitFor();
  await guest.reload();
  await guest.getByText('This link is void').waitFor();
  await guest.done();
  await page.keyboard.press('Escape');
  const gone = id(page);
  await act('Delete');
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.waitForURL(/\/(\?.*)?$/);
  assert.equal((await server.get(`/v1/conversations/${gone}`)).code, 'not_found');
  await page.done();
});

test('settings reach the model, a draft survives', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByLabel('System prompt').fill('Be brief.');
  await page.getByLabel('Most tokens of an answer').fill('7');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.ask('/demo tokens=50 tps=0');
  await page.whole();
  const { data } = await server.get(`/v1/conversations/${id(page)}/messages`);
  assert.equal(data[1].usage.output_tokens, 7);
  assert.equal((await server.get(`/v1/conversations/${id(page)}`)).system, 'Be brief.');
  assert.match(await page.locator('.message.assistant .ending').innerText(), /Cut short by a limit/);
  assert.ok(!(await page.locator('.message.assistant .facts').innerText()).includes('Cut short'), 'said once');
  await page.fill('#prompt', 'half a thought');
  await page.reload();
  await page.locator('.message.assistant').waitFor();
  assert.equal(await page.inputValue('#prompt'), 'half a thought');
  await page.done();
});

test('thinking is folded, tools are cards, a refusal is said', async () => {
  const page = await openPage(await servers.first());
  await page.ask('/demo tokens=10 tps=0 reasoning tool_call');
  await page.whole();
  assert.equal(await page.locator('.thinking-text').isVisible(), false);
  await page.getByText('Thoughts').click();
  assert.match(await page.locator('.thinking-text').innerText(), /Let me see/);
  assert.match(await page.locator('.tool summary').innerText(), /look_up/);
  await page.reload();
  await page.locator('.tool').waitFor();
  await page.ask('/demo refusal tps=0');
  await page.whole(1);
  assert.match(await page.locator('.refusal').innerText(), /rather not/);
  await page.done();
});
