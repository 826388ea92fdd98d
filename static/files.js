// @ts-check
/**
 * Files beside a prompt: texts and pictures. Each is a part of the message, behind the text and in the order in which it
 * was added.
 *
 * @typedef {{ name: string, text?: string, picture?: string, waiting?: boolean, bytes?: number, key?: string }} TextFile a text, or a picture:
 *   its id, or its key in this browser while it waits to be sent
 * @typedef {{ type: 'text', text: string } | { type: 'image', picture: string, waiting?: boolean, name?: string }} Part
 */
import { byId, h, icon, iconButton } from './dom.js';
import { kind, small, take } from './pictures.js';

/** All files of a prompt, in characters: waiting prompts have to fit into the browser's storage. */
const MOST = 2_000_000;
/** Of a name, in characters. */
const LONGEST_NAME = 100;
const PART = /^<file name="([^"\n]*)">\n([^]*)\n<\/file>$/;

/** The content of a message with files. @param {string} text @param {TextFile[]} files @returns {string | Part[]} */
export function contentOf(text, files) {
  if (!files.length) return text;
  const said = (/** @type {string} */ words) => /** @type {Part} */ ({ type: 'text', text: words });
  const part = (/** @type {TextFile} */ { name, text: inside, picture, waiting }) => (picture
    ? /** @type {Part} */ ({ type: 'image', picture, ...(waiting && { waiting, name }) })
    : said(`<file name="${name}">\n${inside}\n</file>`));
  return [...(text ? [said(text)] : []), ...files.map(part)];
}

/** The text of a message, and the files in it. @param {any} content @returns {{ text: string, files: TextFile[] }} */
export function split(content) {
  if (!Array.isArray(content)) return { text: content ?? '', files: [] };
  /** @type {TextFile[]} */
  const files = [];
  const texts = [];
  for (const { text, picture, waiting, name: called } of content) {
    if (picture) {
      files.push({ name: called ?? 'Picture', picture, waiting });
      continue;
    }
    const [, name, inside] = PART.exec(text ?? '') ?? [];
    if (name === undefined) texts.push(text ?? '');
    else files.push({ name, text: inside });
  }
  return { text: texts.join('\n'), files };
}

/** @param {string} text */
const size = ({ length }) => (length < 1000 ? `${length} characters` : `${Math.round(length / 1000).toLocaleString('en')} k characters`);

/** Files of a message: pictures small, texts folded. @param {TextFile[]} files */
export function folded(files) {
  let pictures = 0;
  return files.map((file) => (file.picture ? small(file, `Picture ${(pictures += 1)}`) : one(file)));
}

/** @param {TextFile} file */
function one({ name, text = '' }) {
  return h('details', { class: 'file' },
    h('summary', null, icon('file'), h('span', { class: 'file-name', dir: 'auto' }, name), h('span', { class: 'quiet' }, size(text))),
    h('pre', { tabindex: '0', role: 'group', 'aria-label': name }, text));
}

/** Reads a file; throws the message for one that cannot be sent. @param {File} file @param {string} blind the model, if it cannot see @returns {Promise<TextFile>} */
async function read(file, blind) {
  const name = file.name.replace(/"/g, "'").replace(/\p{C}/gu, ' ').slice(-LONGEST_NAME) || 'file';
  const first = await file.slice(0, 16).arrayBuffer().catch(() => null);
  // It was moved meanwhile, or is a folder in a browser that does not say so.
  if (!first) throw new Error(`${name} cannot be read.`);
  const head = String.fromCharCode(...new Uint8Array(first));
  const picture = kind(head);
  if (picture === 'other') throw new Error(`${name} is a picture that cannot be sent: PNG, JPEG, WebP and GIF can.`);
  if (picture && blind) throw new Error(`${name} is a picture, and the model ${blind} cannot see pictures.`);
  if (picture) return take(name, file);
  // Bytes are more than characters only by so much.
  if (file.size > MOST * 4) throw new Error(tooLarge(name));
  const bytes = new Uint8Array(await file.arrayBuffer());
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

/** The size of pictures as a model is told them, in bytes. @param {TextFile[]} files */
const encoded = (files) => files.reduce((sum, { bytes = 0 }) => sum + Math.ceil(bytes / 3) * 4 + (bytes && 30), 0);

/** The names of the folders among what was dropped. @param {DataTransfer | null} data */
const foldersOf = (data) => [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory).map((entry) => entry?.name);

/** The files that will go with the prompt that is being written. */
export class Files {
  /** @param {{ changed: () => void, problem: (text: string) => void, blind: () => string, room: () => number }} page `blind`: the model, if it cannot see; `room`: for the pictures of a prompt, in bytes as a model is told them */
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
    // The browser tells folders from files until the event is over.
    const folders = foldersOf(data);
    const files = [...(data?.files ?? [])].filter(({ name }) => !folders.includes(name));
    this.add(files, folders.map((name) => `${name} is a folder: drop the files that are in it.`));
  }

  /** Adds the files that can be sent, and gives the reason for the first other one. @param {Iterable<File> | null} given @param {string[]} [refused] reasons for what is no file */
  async add(given, refused = []) {
    for (const file of given ?? []) {
      try {
        const one = await read(file, this.page.blind());
        const all = [...this.files, one].reduce((sum, { text = '' }) => sum + text.length, 0);
        if (all > MOST) throw new Error(tooLarge(one.name));
        if (encoded([...this.files, one]) > this.page.room()) throw new Error(`${one.name} is too much: the pictures of a prompt have ${Math.floor(this.page.room() / 4 * 3 / 1024 / 1024)} MB at most together.`);
        this.files = [...this.files, one];
      } catch (error) {
        refused.push(error instanceof Error ? error.message : String(error));
      }
    }
    const [reason, ...more] = refused;
    if (reason) this.page.problem(`${reason}${more.length ? ` ${more.length} more cannot be sent either.` : ''}`);
    this.set(this.files);
    this.page.changed();
  }

  /** @param {TextFile[]} files */
  set(files) {
    this.files = files;
    this.list.hidden = !files.length;
    this.list.replaceChildren(...files.map((file) => h('li', null, file.picture ? small(file, '') : icon('file'), h('span', { class: 'file-name', dir: 'auto' }, file.name), file.text !== undefined && h('span', { class: 'quiet' }, size(file.text)),
      iconButton('close', `Remove ${file.name}`, () => {
        this.set(this.files.filter((other) => other !== file));
        this.page.changed();
        byId('prompt').focus();
      }))));
  }
}
