// @ts-check
/** Boxes for text, in browsers that lack a feature of others. */

/** Whether the style sheet's `field-sizing` makes a box as high as its text: Safari and Firefox learnt it late. */
const GROWS = CSS.supports('field-sizing', 'content');

/** Makes a box as high as its text, up to its most. @param {HTMLTextAreaElement} area */
export function fit(area) {
  if (GROWS) return;
  area.style.height = 'auto';
  // The borders are not in it.
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}

/** Whether a key belongs to an input method: Safari ends the composition before its Enter, which has no other mark. @param {KeyboardEvent} event */
export const composing = (event) => event.isComposing || event.keyCode === 229;
