/** How a pickle spells texts and numbers. */

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** undefined: not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Little-endian two's complement of any length. */
export function decodeLong(bytes: Uint8Array): bigint {
  if (bytes.byteLength === 0) return 0n;
  const value = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
  return BigInt.asIntN(8 * bytes.byteLength, value);
}

/** Decimal digits with an optional sign. */
export const parseInteger = (digits: string): bigint => BigInt(digits.replace(/^\+/, ''));

/** What Python's `repr` of a float gives; undefined: no number. */
export function parseFloatOfPython(line: string): number | undefined {
  const special = /^([+-]?)(inf|nan)$/.exec(line);
  if (special) return special[2] === 'nan' ? NaN : special[1] === '-' ? -Infinity : Infinity;
  return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(line) ? Number(line) : undefined;
}

const codePoint = (code: number): string | undefined => (code <= 0x10ffff ? String.fromCodePoint(code) : undefined);

/** Python's raw-unicode-escape: `\uXXXX` and `\UXXXXXXXX`, other characters as they are. */
export function unescapeUnicode(line: string): string | undefined {
  let valid = true;
  const out = line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (_, short?: string, long?: string) => {
    const character = codePoint(parseInt(short ?? long!, 16));
    valid &&= character !== undefined;
    return character ?? '';
  });
  return valid ? out : undefined;
}

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v', a: '\x07', '\\': '\\', "'": "'", '"': '"' };

/** Python's `repr` of a string, with its quotes. */
export function unescapeString(line: string): string | undefined {
  const quote = line[0];
  if (line.length < 2 || (quote !== "'" && quote !== '"') || line.at(-1) !== quote) return undefined;
  let valid = true;
  const out = line.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^])|\\$/g, (_, escape?: string) => {
    if (escape?.startsWith('x') && escape.length === 3) return String.fromCharCode(parseInt(escape.slice(1), 16));
    if (escape !== undefined && /^[0-7]/.test(escape)) return String.fromCharCode(parseInt(escape, 8) & 255);
    const character = escape === undefined ? undefined : ESCAPES[escape];
    valid &&= character !== undefined;
    return character ?? '';
  });
  return valid ? out : undefined;
}

/** A text of a file as it may be printed: short, and without control characters that a terminal would obey. */
export function printable(name: string): string {
  const short = name.length > 120 ? `${name.slice(0, 120)}…` : name;
  return short.replace(/[^\x20-\x7e…]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
