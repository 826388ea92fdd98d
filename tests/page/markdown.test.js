/** The renderer, in a real browser under the real policy. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Runs } from '../../static/runs.js';
import { openPage } from './harness.js';
import { servers } from './servers.js';
import { CORPUS } from './xss.js';

const DOCUMENTS = ['README.md', 'docs/protocol.md', 'docs/models.md', 'ARCHITECTURE.md'];
const LONG = 'Rivers carry what **mountains** lose, grain by `grain`, and $5 * 3 or _more_ of [it](https://a.example). ';
const HARD = [
  'Setext\n===\n\nand another\n---\n\ntext',
  '- a\n\n  b\n\n- c\n    1. d\n    2. e\n\ntext',
  '1. a\n2. b\n\n12. c\n\n- d\n- e\n\n- f\n\n2026 was\n\n7',
  '~~~\ncode ``` inside\n~~~\n\n```rust\nfn main() {}\n```',
  'a **b *c* d** ~~e~~ `f` \\* &amp; &#8212; &nope; <b>g</b>',
  '| a | b |\n|:--|--:|\n| 1 | `2|3` |\n\nafter',
  '- [ ] to do\n- [x] done\n',
  '[link](https://a.example "t") <https://b.example> https://c.example/d_e [ref]\n\n[ref]: https://d.example\n',
  'money: $5 and $6, but $x^2$ and \\(y\\)\n\n$$\n\\frac{1}{2}\n$$\n\nend',
  '> quote\n> goes on\n\n> another\n\n***\n\nשלום **עולם**\n',
  'a[^1] b[^2]\n\n> [!NOTE]\n> c\n>\n> - d\n\n[^1]: e\n  f\n\n[^2]: g **h**\n\ni\n',
  'line one  \nline two\\\nline three\n\n    indented\n\n    code\n\ntext',
];

test('text that comes in any pieces ends as text that came at once', async () => {
  const page = await openPage(await servers.first());
  const root = new URL('../../', import.meta.url);
  const texts = [...HARD, LONG.repeat(400), `a * b ${LONG.repeat(200)}`, `- ${LONG.repeat(60)}\n\n> ${'漢字'.repeat(6000)}`, ...DOCUMENTS.map((name) => readFileSync(new URL(name, root), 'utf8'))];
  const different = await page.evaluate(async (texts) => {
    const { Markdown } = await import('/static/markdown.js');
    const wrong = [];
    const bare = (node) => {
      // Colours and formulas come when they come: the text decides.
      for (const code of node.querySelectorAll('code')) code.textContent = code.textContent;
      for (const formula of node.querySelectorAll('[data-tex]')) formula.textContent = '';
      return node.innerHTML;
    };
    for (const text of texts) {
      const whole = document.createElement('div');
      new Markdown(whole).write(text, true);
      for (const step of text.length < 2000 ? [1, 2, 7] : text.includes('\n#') ? [13, 101] : [997]) {
        const pieces = document.createElement('div');
        const view = new Markdown(pieces);
        for (let end = step; end < text.length; end += step) view.write(text.slice(0, end));
        view.write(text, true);
        if (bare(pieces) !== bare(whole)) wrong.push({ text: text.slice(0, 60), step, pieces: pieces.innerHTML.slice(0, 400), whole: whole.innerHTML.slice(0, 400) });
      }
    }
    return wrong;
  }, texts);
  assert.deepEqual(different, []);
  await page.done();
});

test('a paragraph without a break costs a frame no more than its end', async () => {
  const text = LONG.repeat(1000);
  let lexed = 0;
  const runs = new Runs();
  const lex = (/** @type {string} */ raw, /** @type {any[]} */ tokens) => {
    lexed += raw.length;
    tokens.push({ type: 'text', raw });
    return tokens;
  };
  const step = 500;
  for (let end = step; end < text.length; end += step) runs.lex(text.slice(0, end), [], lex);
  assert.ok(lexed < text.length * 10, `${lexed} characters for ${text.length}`);

  const page = await openPage(await servers.first());
  const found = await page.evaluate(async (text) => {
    const { Markdown } = await import('/static/markdown.js');
    const root = document.createElement('div');
    const view = new Markdown(root);
    view.write(text.slice(0, 100_000));
    const blocks = [...root.querySelectorAll('.run')];
    const touched = new Set();
    const observer = new MutationObserver((list) => list.forEach(({ target }) => touched.add(blocks.findIndex((block) => block.contains(target)))));
    observer.observe(root, { childList: true, characterData: true, subtree: true });
    view.write(text.slice(0, 100_500));
    await new Promise((resolve) => setTimeout(resolve));
    return { blocks: blocks.length, touched: [...touched], whole: root.textContent.length, marks: /\*\*/.test(root.textContent) };
  }, text);
  assert.ok(found.blocks >= 6, `${found.blocks} blocks`);
  assert.deepEqual(found.touched, [found.blocks - 1], 'only its end is touched');
  assert.equal(found.marks, false);
  await page.done();
});

test('nothing runs, loads or leaks, wherever the text is cut', async () => {
  const page = await openPage(await servers.first());
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  const wrong = await page.evaluate(async (corpus) => {
    const { Markdown } = await import('/static/markdown.js');
    const allowed = /^(DIV|SPAN|P|H[1-6]|UL|OL|LI|A|CODE|PRE|BLOCKQUOTE|STRONG|EM|DEL|BR|HR|TABLE|THEAD|TBODY|TR|TH|TD|INPUT|BUTTON|SUP|SVG|USE)$/i;
    const wrong = [];
    const look = (root, text) => {
      for (const node of root.querySelectorAll('*')) {
        if (node.closest('[data-tex]') && !node.matches('[data-tex]')) continue;
        if (!allowed.test(node.tagName)) wrong.push(`${node.tagName} of ${text}`);
        for (const { name, value } of node.attributes) {
          if (/^on|^style$|^src/i.test(name)) wrong.push(`${name} of ${text}`);
          if (/href/i.test(name) && !/^(https?:|mailto:|#i-)/.test(value)) wrong.push(`${name}=${value} of ${text}`);
        }
      }
    };
    for (const text of corpus) {
      const root = document.createElement('div');
      document.body.append(root);
      const view = new Markdown(root);
      for (let end = 1; end <= text.length; end += 1) {
        view.write(text.slice(0, end));
        if (end % 5 === 0) look(root, text.slice(0, end));
      }
      view.write(text, true);
      look(root, text);
      for (const node of root.querySelectorAll('*')) {
        for (const type of ['mouseover', 'focus', 'pointerenter']) node.dispatchEvent(new Event(type, { bubbles: true }));
        if (!node.closest('a')) node.click?.();
      }
      await new Promise((resolve) => setTimeout(resolve));
      if (window.ran) wrong.push(`it ran: ${text}`);
      for (const link of root.querySelectorAll('[data-tex] a')) wrong.push(`a link of ${text}: ${link.href}`);
      root.remove();
    }
    return wrong;
  }, CORPUS);
  assert.deepEqual(wrong, []);
  assert.deepEqual(asked.filter((url) => !/\/(static|v1|healthz)/.test(new URL(url).pathname)), []);
  assert.equal(await page.evaluate(() => window.ran), undefined);
  await page.done();
});

test('what is complete is never touched again, and a selection survives', async () => {
  const page = await openPage(await servers.first());
  const result = await page.evaluate(async () => {
    const { Markdown } = await import('/static/markdown.js');
    const root = document.createElement('div');
    document.body.append(root);
    const view = new Markdown(root);
    let text = 'The first paragraph.\n\nThe second one has **a few** words and ';
    view.write(text);
    const first = root.querySelector('p');
    const strong = root.querySelector('strong');
    getSelection().selectAllChildren(strong);
    const before = getSelection().toString();
    for (let i = 0; i < 200; i += 1) view.write((text += `word${i} `));
    view.write((text += '\n\n```js\nlet x = 1;\n```\n\nend'), true);
    return { same: root.querySelector('p') === first, strong: root.querySelector('strong') === strong, before, after: getSelection().toString() };
  });
  assert.deepEqual(result, { same: true, strong: true, before: 'a few', after: 'a few' });
  await page.done();
});

test('code is coloured when its block closes, and formulas are set', async () => {
  const page = await openPage(await servers.first());
  await page.evaluate(async () => {
    const { Markdown } = await import('/static/markdown.js');
    const root = Object.assign(document.createElement('div'), { id: 'here' });
    document.body.append(root);
    new Markdown(root).write('```rust\nfn main() { let x = "y"; }\n```\n\nThen $x^2$ is it.\n\n$$\n\\frac{1}{2}\n$$\n', true);
  });
  await page.locator('#here .hl-keyword').first().waitFor({ state: 'attached' });
  await page.locator('#here .math .katex').waitFor({ state: 'attached' });
  await page.locator('#here .mathblock .katex-display').waitFor({ state: 'attached' });
  assert.equal(await page.locator('#here pre').innerText(), 'fn main() { let x = "y"; }');
  await page.done();
});

test('a formula is shown when it is whole, and a text that only looks like one is never withheld', async () => {
  const page = await openPage(await servers.first());
  const shown = await page.evaluate(async () => {
    const { Markdown } = await import('/static/markdown.js');
    const show = (/** @type {string} */ text, complete = false) => {
      const root = document.createElement('div');
      new Markdown(root).write(text, complete);
      return root.textContent.trim();
    };
    const open = 'So:\n\n$$\nx = \\frac{1}';
    const more = 'y + '.repeat(400);
    return [show(open), show(`${open}{2}\n$$\n\nend`).includes('end'), show(open, true).includes('frac'), show(`${open}\n\nnext`).includes('frac'), show(open + more).includes('y + y')];
  });
  assert.deepEqual(shown, ['So:', true, true, true, true]);
  await page.done();
});
