import { RunError } from '../core/errors.js';
import { writeFileAtomic } from '../core/files.js';
import { formatBytes, formatNumber } from '../core/format.js';
import type { DatasetOptions } from '../data/dataset.js';
import { DATASET_FORMATS } from '../data/detect-format.js';
import { describeDataset, makeDataset, type DatasetSummary, type MakeDatasetOptions } from '../pipelines/dataset/index.js';
import { encodePng } from '../sinks/png.js';
import type { Command } from './command.js';
import { withInterruption } from './interruption.js';

/** What the shell expects where a program was called wrongly. */
const USAGE = 2;

const count = (value: unknown) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value) as number | undefined;
const whole = (value: number) => formatNumber(value, 1);

/** Such as `10, 5,000 images each`. */
function classesLine(classes: DatasetSummary['classes']): string {
  if (classes.length === 0) return 'none';
  const counts = classes.map(({ images }) => images);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return `${whole(classes.length)}, ${least === most ? whole(most) : `${whole(least)} to ${whole(most)}`} images each`;
}

function report({ name, format, images, looked, shapes, invalid, classes, skipped }: DatasetSummary): string {
  const lines = [
    `${name}: ${format}`,
    `  images   ${whole(images)}${skipped > 0 ? `, ${whole(skipped)} left out` : ''}`,
    ...Object.entries(shapes).map(([shape, number]) => `  size     ${shape}: ${whole(number)} of ${whole(looked)} looked at`),
    ...(invalid.length > 0 ? [`  invalid  ${whole(invalid.length)}`, ...invalid.slice(0, 5).map((line) => `           ${line}`)] : []),
    `  classes  ${classesLine(classes)}`,
    ...classes
      .slice(0, 20)
      .map(
        ({ index, name: label, images: number }) =>
          `    ${String(index).padStart(4)}  ${whole(number)}${label === undefined ? '' : `  ${label}`}`,
      ),
    ...(classes.length > 20 ? [`          and ${classes.length - 20} more`] : []),
  ];
  return lines.join('\n');
}

/** Those that were given. */
const given = <T extends object>(values: T) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;

/** What is said of the source. */
const sourceOptions = (values: Record<string, unknown>) => ({
  format: values['format'],
  split: values['split'],
  images: values['images'],
  labels: values['no-labels'] === true ? false : values['labels'],
  onInvalid: values['on-invalid'],
});

const make = (source: string, out: string, values: Record<string, unknown>): Promise<number> =>
  withInterruption(async ({ signal, exitCode }) => {
    const tty = process.stderr.isTTY;
    let quarter = -1;
    try {
      const made = await makeDataset(source, out, {
        ...(given({
          size: count(values['size']),
          crop: values['crop'],
          resize: values['resize'],
          channels: count(values['channels']),
          max: count(values['max']),
          ...sourceOptions(values),
          force: values['force'],
        }) as MakeDatasetOptions),
        signal,
        onSkip: (error) => console.error(`${tty ? '\r\x1b[2K' : ''}left out: ${error.message.split('\n')[0]}`),
        onWait: ({ pid }) => console.error(`waiting for process ${pid}, which makes ${out}`),
        onProgress: ({ done, total, skipped, bytes }) => {
          const line = `${whole(done)} of ${whole(total)} images, ${formatBytes(bytes)}${skipped > 0 ? `, ${whole(skipped)} left out` : ''}`;
          const reached = Math.floor((4 * done) / total);
          if (tty) process.stderr.write(`\r\x1b[2K${line}${done === total ? '\n' : ''}`);
          else if (reached > quarter) console.error(line);
          quarter = reached;
        },
      });
      console.log(
        `${made.path}: ${whole(made.images)} images, ${made.resolution} px, ${made.channels} channels, ${made.classes === 0 ? 'no labels' : `${made.classes} classes`}, ${formatBytes(made.bytes)}` +
          `${made.skipped > 0 ? `; ${whole(made.skipped)} left out` : ''}${made.resumed > 0 ? `; ${whole(made.resumed)} were there already` : ''}`,
      );
      return 0;
    } catch (error) {
      if (!(error instanceof RunError) || error.code !== 'E_RUN_STOPPED') throw error;
      console.error(`${tty ? '\n' : ''}onestep: ${error.code}: ${error.message}`);
      return exitCode() ?? 1;
    }
  });

export const datasetCommand: Command = {
  help: `usage: onestep dataset make SOURCE OUT.zip [--size N] [--crop] [--resize METHOD] [--channels 1|3] [--max N] [--force] [SOURCE OPTIONS]
       onestep dataset describe SOURCE [--all] [--grid OUT.png] [--json] [SOURCE OPTIONS]

SOURCE is told by its content: a zip of images (EDM), a folder of images with dataset.json or with a folder for each class, CIFAR-10's archives packed or
unpacked, a NumPy archive (.npz), a Parquet file or a folder of them.
make writes a zip in EDM's format. Interrupted by whatever, the same command goes on; OUT.zip has its name when it is whole.

  --size N           pixels of a side; without it all images must be squares of one size
  --crop             takes the middle square first
  --resize METHOD    lanczos (default), bicubic, bilinear, box, or adm: box halvings, bicubic, centre, as ADM made ImageNet
  --channels 1|3     grey or RGB; default: those of the first image
  --max N            the first N images
  --force            replaces OUT.zip, and what is left of another data set
  --all              looks at every image, not at 1,000
  --grid OUT.png     writes samples as a picture
  --json             prints JSON

source options:
  --format NAME      what SOURCE is, where its content does not tell: ${DATASET_FORMATS.join(', ')}
  --split NAME       of CIFAR-10 (train, test, all) and folders of Parquet files
  --images NAME      the column of Parquet files, or the array of a .npz, that holds the images
  --labels NAME      the one that holds the labels
  --no-labels        no labels; class folders are no classes
  --on-invalid HOW   stop at an image that cannot be used (default), or skip it and count

exit code: 0, 1 where it failed, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM`,
  options: {
    ...{
      size: { type: 'string' },
      resize: { type: 'string' },
      channels: { type: 'string' },
      max: { type: 'string' },
      split: { type: 'string' },
      format: { type: 'string' },
      images: { type: 'string' },
      labels: { type: 'string' },
    },
    ...{ 'on-invalid': { type: 'string' }, grid: { type: 'string' } },
    ...{
      crop: { type: 'boolean' },
      force: { type: 'boolean' },
      'no-labels': { type: 'boolean' },
      all: { type: 'boolean' },
      json: { type: 'boolean' },
    },
  },
  positionals: ['make|describe', 'SOURCE', '[OUT.zip]'],
  async run(values, [action, source, out]) {
    if (action === 'make' && out !== undefined) return make(source!, out, values);
    if (action !== 'describe' || out !== undefined) {
      const wrong =
        action === 'make' ? 'expected OUT.zip' : action === 'describe' ? `Unexpected argument '${out}'` : `unknown action '${action}'`;
      console.error(`onestep: dataset: ${wrong}\nhelp: onestep dataset --help`);
      return USAGE;
    }
    const { grid: picture, all, json } = values as Record<string, string | undefined>;
    const { summary, grid } = await describeDataset(source!, {
      ...(given(sourceOptions(values)) as DatasetOptions),
      all: Boolean(all),
    });
    if (picture !== undefined && grid) await writeFileAtomic(picture, encodePng(grid));
    console.log(json ? JSON.stringify(summary, null, 2) : report(summary));
    return 0;
  },
};
