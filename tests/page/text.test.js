/** Texts that models write and browsers do not expect: other scripts, breaks, half a line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage } from './harness.js';
import { servers } from './servers.js';

/** The HTML of texts as the page shows them, without what only styles it. */
async function shown(texts, complete = true) {
  const page = await openPage(await servers.first());
  const html = await page.evaluate(async ([texts, complete]) => {
    const { Markdown } = await import('/static/markdown.js');
    return /** @type {string[]} */ (texts).map((text) => {
      const root = document.createElement('div');
      new Markdown(root).write(text, Boolean(complete));
      return [...root.querySelectorAll('.group')].map((group) => group.innerHTML).join('').replace(/ (dir|scope|class)="[^"]*"/g, '');
    });
  }, [texts, complete]);
  await page.done();
  return html;
}

test('emphasis beside punctuation of Chinese, Japanese and Korean', async () => {
  const rows = [
    ['日本語の**「強調」**です。これは**強調（きょうちょう）**と言います', '日本語の<strong>「強調」</strong>です。これは<strong>強調（きょうちょう）</strong>と言います'],
    ['这是**“重点”**吗', '这是<strong>“重点”</strong>吗'],
    ['**テスト。**テスト', '<strong>テスト。</strong>テスト'],
    ['한국어 **강조(強調)**입니다', '한국어 <strong>강조(強調)</strong>입니다'],
    ['この*「斜体」*と***「両方」***だ', 'この<em>「斜体」</em>と<em><strong>「両方」</strong></em>だ'],
    // As ever.
    ['a **b** c, a*b*c, **(x)** y, 2 * 3 * 4, ** no **', 'a <strong>b</strong> c, a<em>b</em>c, <strong>(x)</strong> y, 2 * 3 * 4, ** no **'],
    ['a**"b"**c', 'a**"b"**c'],
    ['snake_case_word and _em_', 'snake_case_word and <em>em</em>'],
  ];
  assert.deepEqual(await shown(rows.map(([text]) => text)), rows.map(([, html]) => `<p>${html}</p>`));
});

test('a break is one, a single tilde is none, and a shell’s variables are no formula', async () => {
  const rows = [
    ['one<br>two<br/>three<BR />four', '<p>one<br>two<br>three<br>four</p>'],
    ['<b>bold</b> <br data-x>', '<p>&lt;b&gt;bold&lt;/b&gt; &lt;br data-x&gt;</p>'],
    ['H~2~O is ~5 or ~6, ~~not~~', '<p>H~2~O is ~5 or ~6, <del>not</del></p>'],
    ['`x` and $HOME/$USER, $A:$B, ${A}/${B}', '<p><code>x</code> and $HOME/$USER, $A:$B, ${A}/${B}</p>'],
  ];
  assert.deepEqual(await shown(rows.map(([text]) => text)), rows.map(([, html]) => html));
  const [table] = await shown(['| a | b |\n|---|---|\n| 1<br>2 | 3 |\n']);
  assert.match(table, /<td>1<br>2<\/td>/);
});

test('footnotes, GitHub’s alerts, and links of a project', async () => {
  const ref = (/** @type {string} */ n) => `<sup><button type="button" aria-label="Footnote ${n}">${n}</button></sup>`;
  const rows = [
    ['Said[^1] and done[^12].\n\n[^1]: A **note**\n  of two lines\n[^12]: https://a.example', `<p>Said${ref('1')} and done${ref('12')}.</p><div data-note="1"><sup>1</sup><p>A <strong>note</strong>\nof two lines</p></div><div data-note="12"><sup>12</sup><p><a href="https://a.example/" target="_blank" rel="noopener noreferrer">https://a.example</a></p></div>`],
    // A class of characters, and what a code says.
    ['`[^1]` and [^abc]', '<p><code>[^1]</code> and [^abc]</p>'],
    ['> [!WARNING]\n> Mind *this*\n>\n> and that', '<blockquote><strong>Warning</strong><p>Mind <em>this</em></p><p>and that</p></blockquote>'],
    ['> [!note]\n> - x', '<blockquote><strong>Note</strong><ul><li>x</li></ul></blockquote>'],
    ['> [!FOO]\n> x', '<blockquote><p>[!FOO]\nx</p></blockquote>'],
    ['[a](./README.md) [b](#part) [c](javascript:x)', '<p><span title="A link inside a project, which is not here: ./README.md">a</span> <span title="A link inside a project, which is not here: #part">b</span> <span title="This link leads nowhere safe">c</span></p>'],
  ];
  assert.deepEqual(await shown(rows.map(([text]) => text)), rows.map(([, html]) => html));
  const half = [['> [!NO', '<blockquote></blockquote>'], ['> [!TIP]\n> a', '<blockquote><strong>Tip</strong><p>a</p></blockquote>'], ['Said[^', '<p>Said</p>'], ['[^1]: A', '<div data-note="1"><sup>1</sup><p>A</p></div>']];
  assert.deepEqual(await shown(half.map(([text]) => text), false), half.map(([, html]) => html));

  const page = await openPage(await servers.first(), { viewport: { width: 800, height: 300 } });
  await page.evaluate(async () => {
    const { Markdown } = await import('/static/markdown.js');
    document.documentElement.classList.remove('fresh');
    const root = document.createElement('div');
    document.getElementById('transcript').append(root);
    new Markdown(root).write(`Said[^1].\n\n${'x\n\n'.repeat(60)}[^1]: There`, true);
  });
  await page.getByRole('button', { name: 'Footnote 1' }).click();
  await page.waitForFunction(() => {
    const { top, bottom } = document.querySelector('[data-note]').getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  await page.done();
});

test('what is half typed flashes nothing, and nothing is withheld for long', async () => {
  const rows = [
    ['A line\n-', '<p>A line</p>'],
    ['A line\n===', '<p>A line</p>'],
    ['one<br', '<p>one</p>'],
    [`list [${'1, '.repeat(200)}2`, `<p>list [${'1, '.repeat(200)}2</p>`],
  ];
  assert.deepEqual(await shown(rows.map(([text]) => text), false), rows.map(([, html]) => html));
});

test('lists, quotations and tables from right to left stand where their readers look', async () => {
  const page = await openPage(await servers.first(), { viewport: { width: 400, height: 800 } });
  const found = await page.evaluate(async () => {
    const { Markdown } = await import('/static/markdown.js');
    document.documentElement.classList.remove('fresh');
    const root = document.createElement('div');
    document.getElementById('transcript').append(root);
    new Markdown(root).write('فقرة عربية\n\n1. أولا هذا\n2. ثانيا\n3. English\n\n> اقتباس\n\n| عمود | ثان |\n|---|---|\n| واحد | اثنان |\n\n1. left\n2. ثانيا\n', true);
    const edge = root.getBoundingClientRect();
    const textOf = (node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      return range.getBoundingClientRect();
    };
    const [list, , left] = [root.querySelector('ol'), root.querySelector('blockquote'), root.querySelectorAll('ol')[1]];
    const item = textOf(list.children[0]);
    const english = textOf(list.children[2]);
    const quote = root.querySelector('blockquote');
    const cells = [...root.querySelectorAll('td')].map((cell) => cell.getBoundingClientRect().left);
    return {
      // The number has its place between the text and the column's edge, on the right.
      roomRight: Math.round(edge.right - item.right), roomLeft: Math.round(item.left - edge.left) > 100,
      englishRoom: edge.right - english.right >= 20,
      quote: [getComputedStyle(quote).borderRightWidth, getComputedStyle(quote).borderLeftWidth],
      firstCellRight: cells[0] > cells[1],
      left: Math.round(textOf(left.children[0]).left - edge.left),
    };
  });
  assert.deepEqual(found, { roomRight: 24, roomLeft: true, englishRoom: true, quote: ['3px', '0px'], firstCellRight: true, left: 24 });
  await page.done();
});
