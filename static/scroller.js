// @ts-check
/**
 * Scrolling that never fights the reader: the end is followed while the reader is there. Any move away from it, by
 * wheel, finger, key or selection, ends that in the same frame.
 */

/** So near to the end, in px, a reader is at the end. */
const NEAR = 64;
const ANCHORS = CSS.supports('overflow-anchor', 'auto');
/** After we scrolled, WebKit may take it back, and reports this by a scroll that nobody made. On a busy machine it
 * comes so late, in ms. */
const TAKEN_BACK = 5000;

export class Scroller {
  /** @param {HTMLElement} box @param {HTMLElement} content @param {HTMLElement} jump */
  constructor(box, content, jump) {
    this.box = box;
    this.jump = jump;
    this.stuck = true;
    this.top = 0;
    this.setAt = 0;
    /** When somebody last touched the box, and whether the bar is in their hand. */
    this.touchedAt = 0;
    this.held = false;
    const leave = () => this.let();
    box.addEventListener('wheel', (event) => event.deltaY < 0 && leave(), { passive: true });
    box.addEventListener('touchmove', leave, { passive: true });
    box.addEventListener('keydown', (event) => ['PageUp', 'ArrowUp', 'Home'].includes(event.key) && leave());
    document.addEventListener('selectionchange', () => {
      const selection = getSelection();
      if (selection && !selection.isCollapsed && content.contains(selection.anchorNode)) leave();
    });
    box.addEventListener('scroll', () => this.moved(), { passive: true });
    box.addEventListener('pointerdown', ({ target }) => {
      this.touchedAt = performance.now();
      this.held = target === box;
    });
    document.addEventListener('pointerup', () => (this.held = false));
    jump.addEventListener('click', () => this.stick());
    new ResizeObserver(() => this.follow()).observe(content);
    new ResizeObserver(() => this.follow()).observe(box);
  }

  get distance() {
    return this.box.scrollHeight - this.box.clientHeight - this.box.scrollTop;
  }

  let() {
    this.stuck = false;
    this.show();
  }

  stick() {
    this.stuck = true;
    this.follow();
  }

  moved() {
    const up = this.box.scrollTop < this.top - 1;
    const down = this.box.scrollTop > this.top;
    this.top = this.box.scrollTop;
    // The engines without anchors are WebKit's.
    if (!ANCHORS && up && this.stuck && !this.held && this.setAt > this.touchedAt && performance.now() - this.setAt < TAKEN_BACK) {
      requestAnimationFrame(() => this.follow());
      return;
    }
    // Text that got shorter moves the end, not the reader.
    if (up && this.distance > 1) this.stuck = false;
    // A late event of our own scrolling moves nothing, and must not catch a reader who just left.
    else if (down && this.distance <= NEAR) this.stuck = true;
    this.show();
  }

  /** Called after each change of the text. */
  follow() {
    if (this.stuck) {
      this.box.scrollTop = this.box.scrollHeight;
      if (this.box.scrollTop > this.top) this.setAt = performance.now();
      this.top = this.box.scrollTop;
    }
    this.show();
  }

  /** Makes the text above longer, and stays at the text that is being read; most browsers do that by themselves. @param {() => void} change */
  keeping(change) {
    const { scrollTop, scrollHeight } = this.box;
    change();
    if (!ANCHORS && !this.stuck) this.box.scrollTop = scrollTop + this.box.scrollHeight - scrollHeight;
  }

  show() {
    this.jump.hidden = this.stuck || this.distance <= NEAR;
  }
}
