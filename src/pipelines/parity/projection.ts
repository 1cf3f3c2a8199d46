/**
 * Parity of the random projection: every mixed map.
 */
import { WeightsError } from '../../core/errors.js';
import { readSafetensors } from '../../core/safetensors.js';
import type { TensorFile } from '../../core/tensor-file.js';
import { RandomProjection } from '../../models/discriminators/random-projection.js';
import { weightsOf } from '../../models/nn/weights.js';
import { goldenArray, imageTensor, publishedImage, type GoldenArray, type GoldenFiles } from './golden-directory.js';
import { absent, computed, relativeError, TOLERANCES, verdict, within, worst, type Report } from './report.js';

/** The projection that the names and shapes of `file` describe: stages, channels and widths. */
export function projectionOf(file: TensorFile, path: string): RandomProjection {
  const stages = [...file.tensors].flatMap(([name, { shape }]) => {
    const match = /^(.*?)layer(\d+)_ccm\.weight$/.exec(name);
    return match ? [{ prefix: match[1]!, index: Number(match[2]), shape }] : [];
  });
  stages.sort((a, b) => a.index - b.index);
  if (stages.length === 0 || stages.some(({ index, prefix }, at) => index !== at || prefix !== stages[0]!.prefix))
    throw new WeightsError('E_WEIGHTS_UNKNOWN', `${path}: expected layer0_ccm.weight, layer1_ccm.weight, … of a random projection`, {
      help: 'the file must hold a single projection under its published names',
    });
  return new RandomProjection({
    prefix: stages[0]!.prefix,
    channels: stages.map(({ shape }) => shape[1]!),
    widths: stages.map(({ shape }) => shape[0]!),
  });
}

/** Runs the checks of one projection. */
export async function checkProjection(report: Report, files: GoldenFiles): Promise<void> {
  let projection: RandomProjection | undefined;
  const arrays: { features: GoldenArray[]; mixed: (GoldenArray | undefined)[] } = { features: [], mixed: [] };
  const loaded = await report.check(files.name, 'weights', async () => {
    if (files.weights === undefined) return absent(`${files.name}.weights.safetensors`);
    const file = await readSafetensors(files.weights);
    projection = projectionOf(file, files.weights);
    await projection.load(weightsOf(file, files.weights));
    return verdict(undefined, `${projection.outputs.length} stages`);
  });
  const read = await report.check(files.name, 'inputs and outputs', async () => {
    if (files.io === undefined) return absent(`${files.name}.io.safetensors`);
    const file = await readSafetensors(files.io);
    for (let stage = 0; file.tensors.has(`feature${stage}`); stage++) {
      arrays.features.push((await goldenArray(file, `feature${stage}`))!);
      arrays.mixed.push(await goldenArray(file, `mixed${stage}`));
    }
    return arrays.mixed.some((array) => array) ? verdict(undefined, `${file.tensors.size} arrays`) : absent('feature0 and mixed0');
  });
  try {
    if (!loaded || !read) return;
    await report.check(files.name, 'mixed maps', () =>
      computed(() => {
        const found = projection!.forward(arrays.features.map(imageTensor));
        const errors = arrays.mixed.flatMap((expected, stage) =>
          expected ? [[expected.name, relativeError(publishedImage(found[stage]!), expected.data)] as const] : [],
        );
        const { name, error } = worst(errors);
        return within(error, TOLERANCES.output, `worst of ${errors.length}: ${name}`);
      }),
    );
  } finally {
    projection?.dispose();
  }
}
