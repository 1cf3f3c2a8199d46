/**
 * EDM's `dataset.json`: `{"labels": [["00000/img00000000.png", 6], …]}` or `{"labels": null}`.
 *
 * Read byte by byte: a million labels as JavaScript values would take some hundred megabytes.
 */
import { FileError } from '../../core/errors.js';

/** One-hot labels of more classes would not fit into memory. */
export const MAX_CLASSES = 2 ** 20;

const SPACE = 0x20;
const ZERO = 0x30;
const [QUOTE, BACKSLASH, COMMA, COLON, OPEN, CLOSE, BEGIN, END] = Array.from('"\\,:[]{}', (letter) => letter.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];

/** Takes a label and the name from `bytes[start]` to before `bytes[end]`. */
export type TakeLabel = (bytes: Uint8Array, start: number, end: number, label: number) => void;

/** Takes the name whose label is no class index, and what that is; what it throws ends the reading. */
export type TakeInvalid = (name: string, found: string) => void;

/**
 * Reads labels, one after the other.
 *
 * @param chunks the file's bytes, in parts of any size.
 * @param where what errors call the file.
 * @param take called with the bytes that hold each name, valid during the call, where it begins and ends (`\` is `/`), and its class index.
 * @param invalid called for a label that is no class index: a number that is none, null, a text.
 * @returns whether the file has labels: false for null or where the key is absent.
 * @throws FileError `E_FILE_FORMAT` for what is no such JSON, and for labels that are vectors.
 */
export function readLabels(chunks: Iterable<Uint8Array>, where: string, take: TakeLabel, invalid: TakeInvalid): boolean {
  const json = new JsonBytes(chunks, where);
  let labels = false;
  json.expect(BEGIN);
  if (json.next() === END) json.pass();
  else {
    for (let more = true; more; more = json.separator(END)) {
      const key = new TextDecoder().decode(json.string());
      json.expect(COLON);
      if (key !== 'labels') json.value();
      else if (json.next() === OPEN) {
        labels = true;
        readPairs(json, take, invalid);
      } else if (json.next() === BEGIN || json.next() === QUOTE || json.literal() !== 'null')
        throw json.wrong('expected labels as a list of names and class indices, or null');
    }
  }
  if (json.next() !== -1) throw json.wrong('expected the end of the file');
  return labels;
}

function readPairs(json: JsonBytes, take: TakeLabel, invalid: TakeInvalid): void {
  json.expect(OPEN);
  if (json.next() === CLOSE) return json.pass();
  for (let more = true; more; more = json.separator(CLOSE)) {
    if (json.plainPair(take)) continue;
    json.expect(OPEN);
    const name = json.string().slice(); // a label that is a text takes its place
    json.expect(COMMA);
    const first = json.next();
    if (first === OPEN || first === BEGIN)
      throw json.wrong(
        `${textOf(name)}: expected a class index, found ${first === OPEN ? 'a list: labels that are vectors are not read' : 'an object'}`,
      );
    const text = first === QUOTE ? JSON.stringify(textOf(json.string())) : json.literal();
    const label = /^-?\d/.test(text) ? Number(text) : NaN;
    if (Number.isInteger(label) && label >= 0 && label < MAX_CLASSES) take(name, 0, name.length, label);
    else invalid(textOf(name), text);
    json.expect(CLOSE);
  }
}

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** The bytes of a JSON text, from the first to the last. */
class JsonBytes {
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** Bytes before the chunk. */
  #before = 0;
  #string = new Uint8Array(256);
  readonly #chunks: Iterator<Uint8Array>;

  constructor(
    chunks: Iterable<Uint8Array>,
    private readonly where: string,
  ) {
    this.#chunks = chunks[Symbol.iterator]();
  }

  wrong(problem: string): FileError {
    return new FileError('E_FILE_FORMAT', `${this.where}: near byte ${this.#before + this.#at}: ${problem}`, {
      help: 'a dataset.json holds {"labels": [["name", class index], ...]} or {"labels": null}',
    });
  }

  /** The byte at hand, -1 at the end. */
  #peek(): number {
    while (this.#at === this.#chunk.length) {
      const { value, done } = this.#chunks.next() as IteratorResult<Uint8Array, undefined>;
      if (done) return -1;
      this.#before += this.#chunk.length;
      this.#chunk = value;
      this.#at = 0;
    }
    return this.#chunk[this.#at]!;
  }

  /** Takes the byte at hand. */
  pass(): void {
    this.#at++;
  }

  /** The next byte that is no white space, left at hand. */
  next(): number {
    for (;;) {
      const byte = this.#peek();
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.#at++;
    }
  }

  expect(byte: number): void {
    const found = this.next();
    if (found !== byte)
      throw this.wrong(
        `expected ${String.fromCharCode(byte)}, found ${found === -1 ? 'the end' : JSON.stringify(String.fromCharCode(found))}`,
      );
    this.#at++;
  }

  /** Takes a comma, or the end of a list or an object: whether more follows. */
  separator(end: number): boolean {
    if (this.next() === end) {
      this.#at++;
      return false;
    }
    this.expect(COMMA);
    return true;
  }

  /**
   * Takes a pair `["name", 12]` that lies in the chunk as a whole, without escapes, as nearly all do; false where the next is none, and
   * nothing is passed over but white space.
   */
  plainPair(take: TakeLabel): boolean {
    this.next();
    const chunk = this.#chunk;
    let at = this.#at;
    // Within the chunk up to the longest of numbers: reading beyond its end is slow.
    const last = chunk.length - 12;
    if (at > last || chunk[at++] !== OPEN || chunk[at++] !== QUOTE) return false;
    const start = at;
    while (at <= last && chunk[at] !== QUOTE && chunk[at] !== BACKSLASH) at++;
    const end = at;
    if (at > last || chunk[at++] !== QUOTE || chunk[at++] !== COMMA) return false;
    if (chunk[at] === SPACE) at++;
    const digits = at;
    let label = 0;
    while (at <= digits + 6 && chunk[at]! >= ZERO && chunk[at]! <= ZERO + 9) label = 10 * label + chunk[at++]! - ZERO;
    if (at === digits || at > digits + 6 || (at > digits + 1 && chunk[digits] === ZERO) || chunk[at] !== CLOSE) return false;
    if (label >= MAX_CLASSES) return false;
    this.#at = at + 1;
    take(chunk, start, end, label);
    return true;
  }

  /** A string's bytes, with `/` for `\`; valid until the next call. */
  string(): Uint8Array {
    this.expect(QUOTE);
    let length = 0;
    for (;;) {
      const byte = this.#peek();
      if (byte === -1) throw this.wrong('expected the end of a name, found the end of the file');
      this.#at++;
      if (byte === QUOTE) return this.#string.subarray(0, length);
      if (length + 4 > this.#string.length) {
        if (length > 1 << 16) throw this.wrong('expected a name of at most 65536 bytes');
        const grown = new Uint8Array(2 * this.#string.length);
        grown.set(this.#string);
        this.#string = grown;
      }
      if (byte === BACKSLASH) {
        const text = this.#escape();
        // A name in another system's way.
        length += new TextEncoder().encodeInto(text === '\\' ? '/' : text, this.#string.subarray(length)).written;
      } else this.#string[length++] = byte;
    }
  }

  /** What an escape stands for, from after its backslash. */
  #escape(): string {
    const take = (count: number): string => {
      let text = '';
      for (let k = 0; k < count; k++, this.#at++) text += String.fromCharCode(Math.max(0, this.#peek()));
      return text;
    };
    const letter = take(1);
    let escaped = `\\${letter}${letter === 'u' ? take(4) : ''}`;
    // Half of a character beyond 16 bits: the other half follows.
    if (/^\\ud[89ab]/i.test(escaped)) escaped += take(6);
    try {
      return JSON.parse(`"${escaped}"`) as string;
    } catch {
      throw this.wrong(`expected an escape of JSON, found ${JSON.stringify(escaped)}`);
    }
  }

  /** A number, or the words true, false and null, as text. */
  literal(): string {
    let text = '';
    for (let byte = this.next(); ; byte = this.#peek()) {
      const letter = byte === -1 ? '' : String.fromCharCode(byte);
      if (!/[-+.\w]/.test(letter)) break;
      if (text.length > 64) throw this.wrong(`expected a number, found ${text}`);
      text += letter;
      this.#at++;
    }
    if (!/^(-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false|null)$/.test(text))
      throw this.wrong(`expected a value of JSON, found ${JSON.stringify(text)}`);
    return text;
  }

  /** Passes over any value. */
  value(depth = 0): void {
    if (depth > 100) throw this.wrong('expected at most 100 levels of lists and objects');
    const first = this.next();
    if (first === QUOTE) this.string();
    else if (first === OPEN || first === BEGIN) {
      const end = first === OPEN ? CLOSE : END;
      this.#at++;
      if (this.next() === end) return this.pass();
      for (let more = true; more; more = this.separator(end)) {
        if (first === BEGIN) {
          this.string();
          this.expect(COLON);
        }
        this.value(depth + 1);
      }
    } else this.literal();
  }
}
