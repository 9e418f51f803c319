// A screen of text that is drawn anew without flicker: over what stands there, in one write, never wider or taller.

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

/** The terminal's other screen: what was there before is there again afterwards. */
export class LiveScreen implements Disposable {
  readonly #terminal: NodeJS.WriteStream;
  readonly #redraw = (): void => this.#draw();
  #lines: readonly string[] = [];

  constructor(terminal: NodeJS.WriteStream) {
    this.#terminal = terminal;
    terminal.write(ENTER);
    terminal.on('resize', this.#redraw);
  }

  show(lines: readonly string[]): void {
    this.#lines = lines;
    this.#draw();
  }

  [Symbol.dispose](): void {
    this.#terminal.off('resize', this.#redraw);
    this.#terminal.write(LEAVE);
  }

  #draw(): void {
    // A terminal that does not know its size says 0.
    const columns = this.#terminal.columns || 80;
    const rows = this.#terminal.rows || 24;
    const hidden = this.#lines.length - rows;
    const shown = hidden > 0 ? [...this.#lines.slice(0, rows - 1), `... ${hidden + 1} more`] : this.#lines;
    const text = shown.map((line) => `${printable(line).slice(0, columns)}${CLEAR_LINE}`).join('\n');
    this.#terminal.write(`${HOME}${text}${CLEAR_BELOW}`);
  }
}

/** The name of an instance must not move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
