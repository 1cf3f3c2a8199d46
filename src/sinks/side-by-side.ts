/**
 * Several pictures as one.
 */
import { ArgumentError } from '../core/errors.js';

const size = /^<svg [^>]*?\bviewBox="0 0 ([\d.]+) ([\d.]+)" width="[\d.]+" height="[\d.]+"/;

/**
 * Puts SVG pictures of this room, such as those of `lineChart` and `heatMap`, into one row.
 *
 * @returns an `<svg>` element; the pictures keep their sizes and stand at the top.
 * @throws ArgumentError `E_VALUE` for text that is no such picture, and for none at all.
 */
export function sideBySide(pictures: readonly string[]): string {
  if (pictures.length === 0) throw new ArgumentError('E_VALUE', 'sideBySide: expected pictures, got none', { help: 'give at least one' });
  let [width, height] = [0, 0];
  const parts = pictures.map((picture, k) => {
    const found = size.exec(picture);
    if (!found)
      throw new ArgumentError(
        'E_VALUE',
        `sideBySide: expected an SVG element with a viewBox and a size, got '${picture.slice(0, 40)}' as picture ${k}`,
        {
          help: 'give what lineChart and heatMap return',
        },
      );
    const x = width;
    width += Number(found[1]);
    height = Math.max(height, Number(found[2]));
    return picture.replace('<svg ', `<svg x="${x}" y="0" `);
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">\n` +
    `${parts.join('')}</svg>\n`
  );
}
