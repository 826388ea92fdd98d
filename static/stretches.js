// @ts-check
/**
 * A long list of messages in stretches, each of which costs a frame no more than one box while it is out of sight.
 * Elements that are in their place already are not touched.
 */

/** Messages of a stretch. */
const LENGTH = 48;

/** @param {HTMLElement} list @param {HTMLElement[]} elements what the list shows, in order @param {number} [skipped] so many before them are not shown yet */
export function arrange(list, elements, skipped = 0) {
  const first = Math.floor(skipped / LENGTH);
  const count = elements.length ? Math.floor((skipped + elements.length - 1) / LENGTH) - first + 1 : 0;
  const known = new Map([...list.children].map((box) => [Number(/** @type {HTMLElement} */ (box).dataset.stretch), box]));
  for (let n = 0; n < count; n += 1) {
    const box = known.get(first + n) ?? document.createElement('div');
    known.delete(first + n);
    if (box instanceof HTMLElement && !box.dataset.stretch) {
      box.className = 'stretch';
      box.dataset.stretch = String(first + n);
    }
    if (list.children[n] !== box) list.insertBefore(box, list.children[n] ?? null);
    const from = Math.max(0, (first + n) * LENGTH - skipped);
    const here = elements.slice(from, (first + n + 1) * LENGTH - skipped);
    here.forEach((element, i) => {
      if (box.children[i] !== element) box.insertBefore(element, box.children[i] ?? null);
    });
    while (box.children.length > here.length) box.lastChild?.remove();
  }
  for (const box of known.values()) box.remove();
}
