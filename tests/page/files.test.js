/** Text files beside a prompt: by paste, drop and button; and what is none is refused with a word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit } from './axe.js';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';

const QUICK = '/demo tokens=5 tps=0 ttft_ms=0';
const PNG = [137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13];

/** Drops or pastes files, as a browser does. */
const give = (page, kind, files) => page.evaluate(([kind, files]) => {
  const data = new DataTransfer();
  for (const { name, type = '', content } of files) data.items.add(new File([typeof content === 'string' ? content : new Uint8Array(content)], name, { type }));
  const event = kind === 'drop' ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }) : new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
  document.getElementById('prompt').dispatchEvent(event);
  return event.defaultPrevented;
}, [kind, files]);

const names = (page) => page.locator('#files .file-name').allInnerTexts();

/** The text of a prompt, as the server has it. */
const stored = async (server, page) => (await server.get(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/messages`)).data;

test('text files by paste, drop and button go with the prompt, in order, and are shown small', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.setInputFiles('#file', { name: 'a.rs', mimeType: '', buffer: Buffer.from('fn main() {}\n') });
  await page.locator('#files li').first().waitFor();
  assert.equal(await give(page, 'drop', [{ name: 'b "x".md', type: 'text/markdown', content: '# B\n</file>\n' }]), true);
  await page.locator('#files li').nth(1).waitFor();
  await give(page, 'paste', [{ name: 'c.txt', content: [0xff, 0xfe, 0x61, 0, 0xe9, 0] }, { name: 'd.csv', content: '1;2' }]);
  await page.locator('#files li').nth(3).waitFor();
  assert.deepEqual(await names(page), ['a.rs', "b 'x'.md", 'c.txt', 'd.csv']);
  await audit(page, 'files');
  await page.getByRole('button', { name: 'Remove d.csv' }).click();
  // They are a draft like the text.
  await page.fill('#prompt', QUICK);
  await page.reload();
  await page.locator('#files li').nth(2).waitFor();
  await page.getByRole('button', { name: 'Send' }).click();
  await page.whole();
  assert.deepEqual(await names(page), []);
  const [message] = await stored(server, page);
  assert.deepEqual(message.content, [
    { type: 'text', text: QUICK },
    { type: 'text', text: '<file name="a.rs">\nfn main() {}\n\n</file>' },
    { type: 'text', text: '<file name="b \'x\'.md">\n# B\n</file>\n\n</file>' },
    { type: 'text', text: '<file name="c.txt">\naé\n</file>' },
  ]);
  const shown = page.locator('.message.user');
  const look = async (/** @type {any} */ message) => {
    assert.equal(await message.locator('.said').innerText(), QUICK);
    assert.deepEqual(await message.locator('.file-name').allInnerTexts(), ['a.rs', "b 'x'.md", 'c.txt']);
    assert.equal(await message.locator('.file pre').first().isVisible(), false);
  };
  await look(shown);
  await page.reload();
  await page.whole();
  await look(shown);
  await shown.locator('summary').nth(1).click();
  assert.equal(await shown.locator('.file pre').nth(1).innerText(), '# B\n</file>\n');

  // Another version keeps its files.
  await page.getByRole('button', { name: 'Edit and send again' }).click();
  await page.getByLabel('Edit your message').fill(`${QUICK} seed=9`);
  await page.keyboard.press('Enter');
  await page.locator('.message.user .count').waitFor();
  await page.whole();
  const [other] = await stored(server, page);
  assert.deepEqual(other.content, [{ type: 'text', text: `${QUICK} seed=9` }, ...message.content.slice(1)]);

  // By a link, too.
  const { url } = await server.post(`/v1/conversations/${new URL(page.url()).pathname.split('/')[2]}/shares`, {});
  const guest = await openPage(server, { path: url.replace('/v1/shared/', '/shared/') });
  assert.deepEqual(await guest.locator('.file-name').allInnerTexts(), ['a.rs', "b 'x'.md", 'c.txt']);
  await guest.done();
  await page.done();
});

test('a file alone is a prompt, called by its name', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.setInputFiles('#file', { name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('one two') });
  await page.locator('#files li').waitFor();
  await page.locator('#prompt').press('Enter');
  await page.whole();
  await page.locator('#title', { hasText: /^plan\.txt$/ }).waitFor();
  assert.deepEqual((await stored(server, page))[0].content, [{ type: 'text', text: '<file name="plan.txt">\none two\n</file>' }]);
  await page.done();
});

test('what is no text, or too much, is refused by name, and the rest stays', async () => {
  const page = await openPage(await servers.first());
  const problem = page.locator('#problem');
  await give(page, 'drop', [{ name: 'ok.txt', content: 'fine' }, { name: 'photo.png', type: 'image/png', content: PNG }]);
  await problem.getByText('photo.png is a picture, and the model demo cannot see pictures.').waitFor();
  assert.deepEqual(await names(page), ['ok.txt']);
  // The name does not matter.
  await give(page, 'paste', [{ name: 'notes.txt', type: 'text/plain', content: PNG }]);
  await problem.getByText('notes.txt is a picture, and').waitFor();
  await give(page, 'paste', [{ name: 'a.pdf', content: [0x25, 0x50, 0x44, 0x46, 0, 1, 0xff, 0xfe] }]);
  await problem.getByText('a.pdf is no text file.').waitFor();
  await give(page, 'drop', [{ name: 'empty.txt', content: '' }]);
  await problem.getByText('empty.txt is empty.').waitFor();
  await give(page, 'drop', [{ name: 'big.log', content: 'x'.repeat(2_000_001) }]);
  await problem.getByText('big.log is too large: the files of a prompt have 2,000,000 characters at most.').waitFor();
  assert.deepEqual(await names(page), ['ok.txt']);
  // Text that is copied with a picture of itself, as from a table, stays text.
  assert.equal(await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData('text/plain', 'cells');
    data.items.add(new File(['x'], 'cells.png', { type: 'image/png' }));
    const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
    document.getElementById('prompt').dispatchEvent(event);
    return event.defaultPrevented;
  }), false);
  await page.done();
});

test('a prompt with files waits for a server that is away, and is sent once', async () => {
  let server = await Server.start({ env: { DATABASE_URL: undefined } });
  const page = await openPage(server);
  await server.kill({ keep: true });
  await page.setInputFiles('#file', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('words') });
  await page.locator('#files li').waitFor();
  await page.ask(QUICK);
  await page.getByText('Queued').waitFor();
  assert.deepEqual(await page.locator('.message .file-name').allInnerTexts(), ['a.txt']);
  await page.getByRole('button', { name: 'Take back' }).click();
  assert.deepEqual(await names(page), ['a.txt'], 'back where it was');
  await page.locator('#prompt').press('Enter');
  await page.getByText('Queued').waitFor();
  server = await Server.start({ env: { DATABASE_URL: undefined }, port: server.port, dir: server.dir });
  await page.whole();
  const messages = await stored(server, page);
  assert.equal(messages.length, 2);
  assert.equal(messages[0].content[1].text, '<file name="a.txt">\nwords\n</file>');
  await page.done();
  await server.kill();
});
