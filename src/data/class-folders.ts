/**
 * A tree of images with a folder for each class, as torchvision's `ImageFolder` reads it.
 */
import { basename, join, resolve } from 'node:path';
import { FileError } from '../core/errors.js';
import type { EncodedImages, OnInvalid } from './encoded/encoded-images.js';
import { listImages } from './encoded/image-files.js';

/**
 * The images below each folder of a folder, in the order of their paths; the folders, sorted by name, are the classes.
 *
 * Rejects with FileError: `E_FILE_ABSENT`, `E_FILE_NOT_READABLE`; `E_IMAGE_LABEL` for an image beside the folders, which has no class
 * (with `skip` it is left out); `E_IMAGE_NONE` for a folder without images.
 */
export async function classFolderImages(path: string, onInvalid: OnInvalid): Promise<EncodedImages> {
  const root = resolve(path);
  const name = basename(root);
  const { images: found, folders } = await listImages(root);
  if (folders.length === 0)
    throw new FileError('E_IMAGE_LABEL', `${name}: expected a folder for each class, found ${found.length} images and no folder`, {
      help: 'put the images of each class into a folder of its own; a folder without classes is read by edmFolder',
    });
  const images = found.filter((image) => image.includes('/'));
  const outside = found.length - images.length;
  if (outside > 0 && onInvalid === 'stop')
    throw new FileError(
      'E_IMAGE_LABEL',
      `${name}: ${found.find((image) => !image.includes('/'))}: expected images in class folders, found it beside them`,
      {
        help: 'move it into the folder of its class, or leave it out with onInvalid: skip',
      },
    );

  const labels = new Uint32Array(images.length);
  const classes = new Map(folders.map((folder, index) => [folder, index]));
  const counts = new Uint32Array(folders.length);
  images.forEach((image, index) => {
    const label = classes.get(image.slice(0, image.indexOf('/')))!;
    labels[index] = label;
    counts[label]!++;
  });
  const empty = counts.indexOf(0);
  if (empty !== -1)
    throw new FileError('E_IMAGE_NONE', `${name}: ${folders[empty]}: expected images of this class, found none`, {
      help: 'remove the folder: it would be a class that is never seen; PNG, JPEG and WebP are read',
    });
  return {
    name,
    size: images.length,
    classes: folders.length,
    labels,
    classNames: folders,
    skipped: outside,
    entryName: (index) => images[index]!,
    location: (index) => ({ path: join(root, images[index]!) }),
    close: () => Promise.resolve(),
  };
}
