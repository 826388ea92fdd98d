// @ts-check
/**
 * Pictures beside a prompt. Their bytes wait in the browser until the prompt is sent, also over a reload; then the server
 * has them, and messages name them.
 *
 * @typedef {import('./files.js').TextFile} TextFile
 */
import { base } from './base.js';
import { h } from './dom.js';
import { Refused, keptNames, Kept, newKey, sendPicture } from './store.js';

/** The largest picture, in bytes, as the server has it. */
const MOST = 10 * 1024 * 1024;
/** How pictures begin that models see: PNG, JPEG, GIF and WebP. */
const SEEN = /^(?:\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF[^]{4}WEBP)/;
/** The same for others: AVIF and HEIC with their sequences, JPEG XL, TIFF, BMP and icons. */
const OTHER = /^(?:[^]{4}ftyp(?:avi[fs]|he[iv][cmsx]|mif1|msf1)|\xff\x0a|\0\0\0\x0cJXL |II\*\0|MM\0\*|BM[^]{8}\0|\0\0\x01\0[^]\0)/;
/** Bytes that no prompt names are dropped after so long, in ms: another tab may just have taken them. */
const OLD = 86_400_000;
const STORE = 'bytes';

/** Where the server has the pictures that are shown here. */
export const place = { of: (/** @type {string} */ id) => `${base}/v1/pictures/${id}` };

/** What was chosen here; a window without storage has nothing else. @type {Map<string, Blob>} */
const chosen = new Map();
/** Somebody has signed out: what is still being read is kept nowhere. */
let over = false;
/** @type {Promise<IDBDatabase> | undefined} */
let opened;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('lastword-pictures', 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** @param {(store: IDBObjectStore) => IDBRequest} act @returns {Promise<any>} undefined where nothing can be kept */
async function within(act) {
  try {
    const store = (await open()).transaction(STORE, 'readwrite').objectStore(STORE);
    return await new Promise((resolve, reject) => {
      const request = act(store);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  } catch {
    // Private windows and full disks: a reload loses the picture, and says so.
    return undefined;
  }
}

/** @param {string} key @returns {Promise<Blob | undefined>} */
const bytesOf = async (key) => chosen.get(key) ?? (await within((store) => store.get(key)))?.blob;

/** @param {string} key */
function drop(key) {
  chosen.delete(key);
  within((store) => store.delete(key));
}

/** The kind of picture that begins so, or false. @param {string} head @returns {'seen' | 'other' | false} */
export const kind = (head) => (SEEN.test(head) ? 'seen' : OTHER.test(head) ? 'other' : false);

/** Takes a picture in; throws the message for one that cannot be sent. @param {string} name @param {File} file @returns {Promise<TextFile>} */
export async function take(name, file) {
  if (file.size > MOST) throw new Error(`${name} is too large: a picture has ${MOST / 1024 / 1024} MB at most.`);
  const picture = newKey();
  // A copy: the file itself may change or go.
  const blob = new Blob([await file.arrayBuffer()]);
  chosen.set(picture, blob);
  if (!over) await within((store) => store.put({ blob, at: Date.now() }, picture));
  return { name, picture, waiting: true, bytes: blob.size };
}

/** Gives the server the pictures that wait; the files with their names there. @param {TextFile[]} files @returns {Promise<TextFile[]>} */
export async function sent(files) {
  const all = [];
  for (const file of files) {
    if (!file.picture || !file.waiting) {
      all.push(file);
      continue;
    }
    const blob = await bytesOf(file.picture);
    if (!blob) throw new Refused(410, { code: 'picture_lost', detail: `this browser does not have ${file.name} any more` }, 0);
    all.push({ name: file.name, picture: (await sendPicture(blob)).id, key: file.picture });
  }
  return all;
}

/** The prompt has arrived: its bytes need not wait any more. @param {TextFile[]} files */
export function arrived(files) {
  for (const { key } of files) if (key) drop(key);
}

/** A picture, small. @param {TextFile} file @param {string} words for who does not see it */
export function small({ picture = '', waiting }, words) {
  const image = h('img', { alt: words, decoding: 'async' });
  if (!waiting) {
    image.src = place.of(picture);
    return h('a', { class: 'picture', href: image.src, target: '_blank', rel: 'noopener' }, image);
  }
  bytesOf(picture).then((blob) => {
    if (!blob) return;
    image.src = URL.createObjectURL(blob);
    image.onload = () => URL.revokeObjectURL(image.src);
  });
  return h('span', { class: 'picture' }, image);
}

/** Somebody signs out: whoever comes next finds no picture. */
export async function forget() {
  over = true;
  chosen.clear();
  await within((store) => store.clear());
}

/** Drops old bytes that no draft and no waiting prompt names. */
export async function tidy() {
  const keys = (await within((store) => store.getAllKeys())) ?? [];
  if (!keys.length) return;
  const named = ['files.', 'outbox.'].flatMap(keptNames).map((name) => JSON.stringify(new Kept(name, null).get())).join('');
  for (const key of keys) {
    const { at } = (await within((store) => store.get(key))) ?? {};
    if (!named.includes(key) && Date.now() - at > OLD) drop(key);
  }
}
