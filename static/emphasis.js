// @ts-check
/**
 * Where emphasis begins and ends, beside CJK text: by CommonMark's rule `**「強」**は` does not close, since a mark
 * between punctuation and a letter only opens. Here punctuation of CJK counts as a letter, and a CJK character beside
 * other punctuation as a space: the "CJK-friendly" extension (github.com/tats-u/markdown-cjk-friendly). And two tildes
 * strike, one does not: models write `~5`.
 */

/** Letters, marks and punctuation of Chinese, Japanese and Korean, full-width forms too. */
const CJK = '\\u1100-\\u11ff\\u2e80-\\u303f\\u3040-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7ff\\uf900-\\ufaff\\ufe30-\\ufe4f\\uff00-\\uffef\\u{1f200}-\\u{1f2ff}\\u{20000}-\\u{3fffd}';
const C = `[${CJK}]`;
/** Punctuation that is none of CJK, and no tilde. */
const P = `(?:(?![~${CJK}])[\\p{P}\\p{S}])`;
/** Everything else but spaces. */
const N = `(?:(?!${P})[^\\s])`;

/** The character that opens: behind the marks, punctuation, or something else. */
const OPENS = new RegExp(`^(?:\\*+(?:((?!\\*)${P})|([^\\s*]))?)|^_+(?:((?!_)${P})|([^\\s_]))?`, 'u');

/** The marks that close, open or do both, by the group that they are found in: marked counts on their order. */
const CLOSES = new RegExp([
  // Whole emphasis of the other kind, and text that is no mark.
  '^[^_*]*?__[^_*]*?\\*[^_*]*?(?=__)',
  '[^*]+(?=[^*])',
  // Only closes.
  `(?!\\*)${P}(\\*+)(?=\\s|$)`,
  `(?:(?!${C})${N}(?=\\*+(?!\\*)${P})|${N}(?=\\*+(?:\\s|$)))(\\*+)(?!\\*)(?=\\s|${P}|$)`,
  // Only opens.
  `(?!\\*)(?:\\s|${P}(?!\\*+${C}))(\\*+)(?=${N})`,
  `\\s(\\*+)(?!\\*)(?=${P})`,
  // Both.
  `(?!\\*)${P}(\\*+)(?!\\*)(?=${P})`,
  `(?:${N}(?=\\*+${N})|${C}(?=\\*+(?!\\*)${P})|(?!\\*)${P}(?=\\*+${C}))(\\*+)(?!\\*)`,
].join('|'), 'gu');

/** Characters that may stand before an opening mark that punctuation follows. */
const BEFORE = new RegExp(`^((?![*_])[\\s\\p{P}\\p{S}${CJK}])`, 'u');

/** @param {any} inline marked's rules for what stands in a line @returns {any} */
export const relaxed = (inline) => ({
  ...inline,
  emStrongLDelim: OPENS,
  emStrongRDelimAst: CLOSES,
  punctuation: BEFORE,
  delLDelim: /^~~(?:((?!~)[\p{P}\p{S}])|[^\s~])/u,
});
