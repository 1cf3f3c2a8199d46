/**
 * Encoded images to pixels: PNG here, JPEG, WebP and others by the optional package sharp.
 */
import type { DecodedImage } from './encoded-images.js';
import { damagedImage, imageError, ImageProblem } from './image-problem.js';
import { decodePng, isPng } from './png.js';

/**
 * Decodes an image: PNG, and with the package sharp JPEG, WebP and what else it knows (of an animation the first image).
 *
 * Colour profiles and orientation tags are left alone, as PIL and PyTorch's data sets do; CMYK becomes RGB.
 *
 * @throws FileError with `entryName`: `E_IMAGE_FORMAT` for what is damaged, cut short or unknown; `E_IMAGE_DECODER` where sharp is
 * needed and absent.
 */
export async function decodeImage(bytes: Uint8Array, entryName: string): Promise<DecodedImage> {
  try {
    return await decodeBytes(bytes);
  } catch (error) {
    throw error instanceof ImageProblem ? imageError(error, entryName) : error;
  }
}

/** `decodeImage` without names; at once for a PNG, so that a worker waits for nothing. Throws {@link ImageProblem}. */
export const decodeBytes = (bytes: Uint8Array): DecodedImage | Promise<DecodedImage> =>
  isPng(bytes) ? decodePng(bytes) : decodeBySharp(bytes);

let sharpPackage: Promise<typeof import('sharp')> | undefined;

/** The package sharp, loaded once; rejects where it is absent or does not load. */
export const loadSharp = () => (sharpPackage ??= import('sharp').then((module) => module.default));

const startsWith = (bytes: Uint8Array, text: string, at = 0) => [...text].every((letter, k) => bytes[at + k] === letter.charCodeAt(0));

/** For messages: what bytes seem to be. */
function formatName(bytes: Uint8Array): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return 'a JPEG';
  if (startsWith(bytes, 'RIFF') && startsWith(bytes, 'WEBP', 8)) return 'a WebP';
  if (startsWith(bytes, 'GIF8')) return 'a GIF';
  if (startsWith(bytes, 'BM')) return 'a BMP';
  if (startsWith(bytes, 'II*') || startsWith(bytes, 'MM\0*')) return 'a TIFF';
  if (startsWith(bytes, 'ftyp', 4)) return 'an AVIF or HEIF';
  return undefined;
}

async function decodeBySharp(bytes: Uint8Array): Promise<DecodedImage> {
  const format = formatName(bytes);
  if (format === undefined)
    throw damagedImage(bytes.length === 0 ? 'expected an image, found no bytes' : 'expected a PNG, a JPEG or a WebP, found something else');
  const sharp = await loadSharp().catch((cause: unknown) => {
    throw new ImageProblem(
      'E_IMAGE_DECODER',
      `expected the package sharp to decode ${format}, it does not load: ${(cause as Error).message.split('\n')[0]}`,
      'npm install sharp, or convert the images to PNG',
    );
  });
  try {
    const image = sharp(bytes, { ignoreIcc: true });
    // sharp would give greys as RGB; of the formats here only a WebP cannot be grey.
    if (format !== 'a WebP' && /^(b-w|grey16)$/.test((await image.metadata()).space ?? '')) image.toColourspace('b-w');
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    return { pixels: data, height: info.height, width: info.width, channels: info.channels };
  } catch (error) {
    throw damagedImage(`${format} that cannot be decoded: ${(error as Error).message.split('\n')[0]}`);
  }
}
