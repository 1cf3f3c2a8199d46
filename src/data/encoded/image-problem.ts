import { FileError } from '../../core/errors.js';

/** What is wrong with an image, told without its name: the worker that finds it knows no names. Codes: `E_IMAGE_…`. */
export class ImageProblem extends Error {
  constructor(
    readonly code: string,
    readonly problem: string,
    readonly help: string,
  ) {
    super(problem);
  }
}

/** An image that cannot be decoded: damaged, cut short, or of no format that is known here. */
export const damagedImage = (problem: string, help = 'copy or download it again, or leave it out with onInvalid: skip'): ImageProblem =>
  new ImageProblem('E_IMAGE_FORMAT', problem, help);

/** The error of a problem, with the name of the image. */
export const imageError = ({ code, problem, help }: Pick<ImageProblem, 'code' | 'problem' | 'help'>, entryName: string): FileError =>
  new FileError(code, `${entryName}: ${problem}`, { help });
