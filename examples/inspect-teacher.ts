/**
 * Looks at a teacher: its format and architecture, a table of its modules, and images at N steps of EDM's sampler and at one.
 *
 *     npx tsx examples/inspect-teacher.ts [REFERENCE] [--key ema] [--level 1] [--steps 18] [--images 16] [--seed 0] [--out runs/teacher.png] [--no-images]
 *
 * REFERENCE is a path (EDM snapshot, .pth, safetensors, diffusers folder), a published name, an address or hf:owner/name; default: the
 * teacher that comes with the package. `--level` is the freeze level of the table: 0 GDD, 1 GDD-I, 2 and 3 freeze more.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  createBackbone,
  encodePng,
  freezeConvolutions,
  imageGrid,
  openBackend,
  Student,
  summarizeFreeze,
  formatFreezeSummary,
  teacher,
  teacherImages,
  writeFileAtomic,
  type FreezePolicy,
  type ParameterDescription,
} from 'onestep';
import { count, runExample } from './support/run-example.js';
import { asset } from './support/shapes16.js';

const USAGE = `npx tsx examples/inspect-teacher.ts [REFERENCE] [--key ema] [--level 1] [--steps 18] [--images 16] [--seed 0] [--out runs/teacher.png] [--no-images]

REFERENCE   a path, a published name, an address or hf:owner/name[/file][@revision]; default: the teacher that comes with the package
--key       which network of a file that holds several
--level     freeze level of the table: 0 nothing (GDD), 1 most convolutions (GDD-I), 2, 3
--steps     steps of EDM's sampler (2 * steps - 1 evaluations)
--images    images of each kind; --seed chooses them
--no-images prints the tables alone: the values are not read`;

/** One row a module: kind, shapes of its parameters, number of values, frozen or trained. */
function moduleTable(parameters: readonly ParameterDescription[], policy: FreezePolicy): string {
  const modules = new Map<string, ParameterDescription[]>();
  for (const parameter of parameters) {
    const module = parameter.name.slice(0, parameter.name.lastIndexOf('.'));
    modules.set(module, [...(modules.get(module) ?? []), parameter]);
  }
  const rows = [
    ['module', 'kind', 'shapes', 'parameters', ''],
    ...[...modules].map(([name, own]) => [
      name,
      own[0]!.kind,
      own.map(({ shape }) => shape.join('x')).join(', '),
      own.reduce((sum, { size }) => sum + size, 0).toLocaleString('en-US'),
      policy.trains(own[0]!) ? 'trains' : 'frozen',
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 3 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const options = {
  key: { type: 'string' },
  level: { type: 'string', default: '1' },
  steps: { type: 'string', default: '18' },
  images: { type: 'string', default: '16' },
  seed: { type: 'string', default: '0' },
  out: { type: 'string', default: 'runs/teacher.png' },
  'no-images': { type: 'boolean', default: false },
} as const;

await runExample(
  USAGE,
  options,
  async (values, [reference = asset('shapes16-teacher.safetensors')]) => {
    const level = count('level', values.level, 0, 3) as 0 | 1 | 2 | 3;
    const [steps, images, seed] = [
      count('steps', values.steps, 1, 4096),
      count('images', values.images, 1, 4096),
      count('seed', values.seed, 0),
    ];

    const loader = teacher(reference, values.key === undefined ? {} : { key: values.key });
    const file = await loader.open();
    console.log(`${file.path}\n${file.format}`);
    for (const note of file.notes) console.log(`  ${note}`);
    console.log(`${JSON.stringify(file.config)}\n`);
    // Described, not allocated: this costs nothing for 300 million parameters.
    const parameters = createBackbone(file.config).parameters();
    const policy = freezeConvolutions({ level });
    console.log(`${moduleTable(parameters, policy)}\n\n${formatFreezeSummary(summarizeFreeze(parameters, policy))}`);
    if (values['no-images']) return;

    const { description } = await openBackend();
    console.log(`\nengine: ${description}`);
    const start = performance.now();
    const { name, backbone } = await loader.load();
    console.log(`loaded in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    const onProgress = (done: number) => console.log(`${done} of ${images} images`);
    const batch = { count: images, seed, batchSize: 8 };
    const many = teacherImages(backbone, { ...batch, steps, onProgress });
    // The teacher as the one-step generator that distillation starts from.
    const one = new Student(name, backbone).generate(batch);
    backbone.dispose();

    const columns = Math.min(8, images);
    const rows = Math.ceil(images / columns);
    const [, height, width, channels] = many.shape;
    const block = rows * columns * height * width * channels;
    const both = new Uint8Array(2 * block).fill(255);
    both.set(many.images);
    both.set(one.images, block);
    const rowCaptions = [`${steps} steps`, '1 step'].flatMap((caption) => [caption, ...Array<string>(rows - 1).fill('')]);
    const picture = imageGrid(both, [2 * rows * columns, height, width, channels], { columns, rowCaptions });
    await mkdir(dirname(values.out), { recursive: true });
    await writeFileAtomic(values.out, encodePng(picture));
    console.log(`see ${values.out}: ${steps} steps above, one step below, the same latents`);
  },
  1,
);
