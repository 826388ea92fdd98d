// @ts-check
/** The places of TeX in a text: `$$…$$`, `\[…\]`, `\(…\)`, and `$…$` where it can be neither money nor a shell's
 * variables. */

/** @typedef {{ type: string, raw: string, text: string }} Found */

/** @param {string} type @param {RegExp} pattern @returns {(source: string) => Found | undefined} */
const finds = (type, pattern) => (source) => {
  const match = pattern.exec(source);
  return match ? { type, raw: match[0], text: (match[1] ?? match[2] ?? match[3]).trim() } : undefined;
};

export const mathExtensions = [
  {
    name: 'mathblock',
    level: 'block',
    start: (/** @type {string} */ source) => source.match(/(^|\n)(\$\$|\\\[)/)?.index,
    tokenizer: finds('mathblock', /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n+|$)/),
  },
  {
    name: 'math',
    level: 'inline',
    start: (/** @type {string} */ source) => source.match(/\$|\\[([]/)?.index,
    tokenizer: finds('math', /^(?:\$\$([^\n]+?)\$\$|\\[([]([\s\S]+?)\\[)\]]|\$((?! )[^$\n]*[^$\s\\])\$(?![\w{]))/),
  },
];
