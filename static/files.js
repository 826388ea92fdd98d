// @ts-check
/**
 * Text files beside a prompt. Each is a part of the message, behind the text and in the order in which it was added.
 *
 * @typedef {{ name: string, text: string }} TextFile
 */
import { byId, h, icon, iconButton } from './dom.js';

/** All files of a prompt, in characters: waiting prompts have to fit into the browser's storage. */
const MOST = 2_000_000;
/** Of a name, in characters. */
const LONGEST_NAME = 100;
/** How pictures begin: PNG, JPEG, GIF, WebP, AVIF and HEIC. */
const PICTURE = /^(?:\x89PNG|\xff\xd8\xff|GIF8|RIFF[^]{4}WEBP|[^]{4}ftyp(?:avif|heic|mif1))/;
const PART = /^<file name="([^"\n]*)">\n([^]*)\n<\/file>$/;

/** The text of a message with files. @param {string} text @param {TextFile[]} files @returns {string | { type: 'text', text: string }[]} */
export function contentOf(text, files) {
  if (!files.length) return text;
  const parts = files.map((file) => `<file name="${file.name}">\n${file.text}\n</file>`);
  return [...(text ? [text] : []), ...parts].map((part) => ({ type: 'text', text: part }));
}

/** The text of a message, and the files in it. @param {any} content @returns {{ text: string, files: TextFile[] }} */
export function split(content) {
  if (!Array.isArray(content)) return { text: content ?? '', files: [] };
  /** @type {TextFile[]} */
  const files = [];
  const texts = [];
  for (const { text } of content) {
    const [, name, inside] = PART.exec(text ?? '') ?? [];
    if (name === undefined) texts.push(text ?? '');
    else files.push({ name, text: inside });
  }
  return { text: texts.join('\n'), files };
}

/** @param {string} text */
const size = ({ length }) => (length < 1000 ? `${length} characters` : `${Math.round(length / 1000).toLocaleString('en')} k characters`);

/** Files of a message, folded. @param {TextFile[]} files */
export function folded(files) {
  return files.map(({ name, text }) => h('details', { class: 'file' },
    h('summary', null, icon('file'), h('span', { class: 'file-name', dir: 'auto' }, name), h('span', { class: 'quiet' }, size(text))),
    h('pre', { tabindex: '0', role: 'group', 'aria-label': name }, text)));
}

/** Reads a file as text; throws the message for a file that is none. @param {File} file @returns {Promise<TextFile>} */
async function read(file) {
  const name = file.name.replace(/"/g, "'").replace(/\p{C}/gu, ' ').slice(-LONGEST_NAME) || 'file';
  // Bytes are more than characters only by so much.
  if (file.size > MOST * 4) throw new Error(tooLarge(name));
  const bytes = new Uint8Array(await file.arrayBuffer());
  const head = String.fromCharCode(...bytes.slice(0, 16));
  if (PICTURE.test(head)) throw new Error(`${name} is a picture. Models get text from this page: pictures cannot be sent.`);
  const encoding = head.startsWith('\xff\xfe') ? 'utf-16le' : head.startsWith('\xfe\xff') ? 'utf-16be' : 'utf-8';
  let text = '\0';
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    // Not of this encoding: no text.
  }
  if (!bytes.length) throw new Error(`${name} is empty.`);
  if (text.includes('\0')) throw new Error(`${name} is no text file.`);
  return { name, text: text.replace(/\r\n/g, '\n') };
}

/** @param {string} name */
const tooLarge = (name) => `${name} is too large: the files of a prompt have ${MOST.toLocaleString('en')} characters at most.`;

/** The files that will go with the prompt that is being written. */
export class Files {
  /** @param {{ changed: () => void, problem: (text: string) => void }} page */
  constructor(page) {
    this.page = page;
    this.list = byId('files');
    /** @type {TextFile[]} */
    this.files = [];
    const chosen = byId('file', HTMLInputElement);
    byId('attach').addEventListener('click', () => chosen.click());
    chosen.addEventListener('change', async () => {
      await this.add(chosen.files);
      chosen.value = '';
    });
    const has = (/** @type {DataTransfer | null} */ data) => Boolean(data?.types.includes('Files'));
    // A file that is dropped is not for the browser to open in the page's place.
    addEventListener('dragover', (event) => has(event.dataTransfer) && event.preventDefault());
    addEventListener('drop', (event) => has(event.dataTransfer) && this.take(event, event.dataTransfer));
    // A copy from a table or a text is also a picture of itself.
    addEventListener('paste', (event) => has(event.clipboardData) && !event.clipboardData?.types.includes('text/plain') && this.take(event, event.clipboardData));
  }

  /** @param {Event} event @param {DataTransfer | null} data */
  take(event, data) {
    event.preventDefault();
    this.add(data?.files ?? null);
  }

  /** Adds the text files, and gives the reason for the first other one. @param {FileList | null} given */
  async add(given) {
    let refused = '';
    for (const file of given ?? []) {
      try {
        const one = await read(file);
        const all = this.files.reduce((sum, { text }) => sum + text.length, one.text.length);
        if (all > MOST) throw new Error(tooLarge(one.name));
        this.files = [...this.files, one];
      } catch (error) {
        refused ||= error instanceof Error ? error.message : String(error);
      }
    }
    if (refused) this.page.problem(refused);
    this.set(this.files);
    this.page.changed();
  }

  /** @param {TextFile[]} files */
  set(files) {
    this.files = files;
    this.list.hidden = !files.length;
    this.list.replaceChildren(...files.map((file) => h('li', null, icon('file'), h('span', { class: 'file-name', dir: 'auto' }, file.name), h('span', { class: 'quiet' }, size(file.text)),
      iconButton('close', `Remove ${file.name}`, () => {
        this.set(this.files.filter((other) => other !== file));
        this.page.changed();
        byId('prompt').focus();
      }))));
  }
}
