/**
 * Names of files that a run leaves.
 */

/** Thousands of images in file names, in an order that sorts: `000005`, `000012.8`. */
export function kimgInFileName(images: number): string {
  const [whole, fraction] = String(Math.round(images) / 1000).split('.');
  return whole!.padStart(6, '0') + (fraction === undefined ? '' : `.${fraction}`);
}
