/**
 * A 5x7 bitmap font for captions in images: capitals, digits and a few signs.
 */

/** One base-32 digit per row, top to bottom; its five bits are the columns, the highest on the left. */
const glyphs: Record<string, string> = {
  ...{ A: 'ehhvhhh', B: 'uhhuhhu', C: 'ehggghe', D: 'uhhhhhu', E: 'vgguggv', F: 'vgguggg', G: 'ehgnhhf', H: 'hhhvhhh', I: 'e44444e' },
  ...{ J: '72222ic', K: 'hikokih', L: 'ggggggv', M: 'hrllhhh', N: 'hhpljhh', O: 'ehhhhhe', P: 'uhhuggg', Q: 'ehhhlid', R: 'uhhukih' },
  ...{ S: 'fgge11u', T: 'v444444', U: 'hhhhhhe', V: 'hhhhha4', W: 'hhhllla', X: 'hha4ahh', Y: 'hhha444', Z: 'v1248gv', ' ': '0000000' },
  ...{ '0': 'ehjlphe', '1': '4c4444e', '2': 'eh1248v', '3': 'v2421he', '4': '26aiv22', '5': 'vgu11he', '6': '68guhhe', '7': 'v124888' },
  ...{ '8': 'ehhehhe', '9': 'ehhf12c', '.': '00000cc', ',': '0000c48', '-': '000e000', '+': '044v440', ':': '0cc0cc0', '/': '01248g0' },
  ...{ '%': 'op248j3', '(': '2488842', ')': '8422248', '=': '00v0v00', _: '000000v', '#': 'aavavaa', '?': 'eh12404' },
};

/** Width of a line in font pixels: 6 for each character, the gap after the last one left out. */
export function textWidth(text: string): number {
  return Math.max(0, 6 * text.length - 1);
}

export const TEXT_HEIGHT = 7;

/** Calls `dot` for each set font pixel. Small letters are drawn as capitals, unknown characters as a question mark. */
export function drawText(text: string, dot: (x: number, y: number) => void): void {
  Array.from(text.toUpperCase()).forEach((character, position) => {
    const rows = glyphs[character] ?? glyphs['?']!;
    for (let y = 0; y < TEXT_HEIGHT; y++) {
      const bits = parseInt(rows[y]!, 32);
      for (let x = 0; x < 5; x++) if ((bits >> (4 - x)) & 1) dot(6 * position + x, y);
    }
  });
}
