/**
 * Parity of snapshots and state dicts: their tensors against the weights of the same network, and what they compute.
 */
import { basename } from 'node:path';
import { OnestepError } from '../../core/errors.js';
import { readSafetensors } from '../../core/safetensors.js';
import type { TensorDtype, TensorFile } from '../../core/tensor-file.js';
import { openTorchFile, stateDict } from '../../core/torch-file/index.js';
import type { BackboneConfig } from '../../models/backbones/backbone.js';
import { createBackbone } from '../../models/backbones/config.js';
import { weightsOf } from '../../models/nn/weights.js';
import type { GoldenDirectory, GoldenFiles } from './golden-directory.js';
import { checkOutputs, configOf, openWeights, readNetworkArrays } from './network.js';
import { absent, relativeError, verdict, within, worst, type Outcome, type Report } from './report.js';

/** What a file holds: of a network its configuration too. */
interface Contents {
  config?: BackboneConfig;
  weights: Pick<TensorFile, 'tensors' | 'readAsFloat32'>;
}

/** Bits of a significand; a narrower file is as close as its rounding. */
const PRECISION: Partial<Record<TensorDtype, number>> = { F64: 52, F32: 23, F16: 10, BF16: 7 };

/** Runs the checks of one pickle or PyTorch file. */
export async function checkStateDict(report: Report, path: string, directory: GoldenDirectory): Promise<void> {
  const subject = basename(path);
  let contents: Contents | undefined;
  await report.check(subject, 'weights', async () => {
    contents = await contentsOf(path);
    return verdict(undefined, `${contents.weights.tensors.size} tensors${contents.config ? ` of a ${contents.config.model_type}` : ''}`);
  });
  if (!contents) return;

  let match: GoldenFiles | undefined;
  let rounded = false;
  const equal = await report.check(subject, 'tensors', async () => {
    let best: Outcome = absent('weights with these names and shapes');
    for (const files of [...directory.networks, ...directory.heads, ...directory.projections]) {
      const outcome = await comparison(contents!, files);
      if (!outcome || (match && !(outcome.error! < best.error!))) continue;
      [match, best] = [files, outcome];
      if (outcome.error === 0) break;
    }
    rounded = best.status === 'ok' && best.error !== 0;
    return rounded ? { ...best, note: `${best.note}; rounded, so that outputs are not compared` } : best;
  });
  // Weights that were rounded compute something else.
  if (!equal || rounded || !contents.config || match?.io === undefined) return;
  const network = createBackbone(contents.config);
  try {
    await network.load(weightsOf(contents.weights as TensorFile, path));
    await checkOutputs(report, subject, network, await readNetworkArrays(match.io));
  } finally {
    network.dispose();
  }
}

/** A network under its own names, or whatever tensors the file holds. */
async function contentsOf(path: string): Promise<Contents> {
  try {
    return await openWeights(path);
  } catch (error) {
    if (!(error instanceof OnestepError) || error.code !== 'E_WEIGHTS_UNKNOWN' || path.endsWith('.safetensors')) throw error;
    const tensors = stateDict((await openTorchFile(path)).root);
    return { weights: { tensors, readAsFloat32: (name) => tensors.get(name)!.readAsFloat32() } };
  }
}

/** How far the tensors of `files` are from these; undefined where names or shapes differ. */
async function comparison({ config, weights }: Contents, files: GoldenFiles): Promise<Outcome | undefined> {
  let expected: Contents['weights'];
  try {
    const own = config && (await configOf(files));
    if (files.weights === undefined || (config && !own)) return undefined;
    expected = own ? (await openWeights(files.weights, own)).weights : await readSafetensors(files.weights);
  } catch {
    return undefined; // The checks of these files say what is wrong with them.
  }
  if (expected.tensors.size !== weights.tensors.size) return undefined;
  for (const [name, { shape }] of expected.tensors) if (weights.tensors.get(name)?.shape.join() !== shape.join()) return undefined;
  const errors: [string, number][] = [];
  let tolerance = 0;
  for (const [name, { dtype }] of expected.tensors) {
    const bits = PRECISION[weights.tensors.get(name)!.dtype] ?? Infinity;
    if (bits < (PRECISION[dtype] ?? 0)) tolerance = Math.max(tolerance, 2 ** -(bits + 1));
    errors.push([name, relativeError(await weights.readAsFloat32(name), await expected.readAsFloat32(name))]);
  }
  const { name, error } = worst(errors);
  return within(error, tolerance, error > 0 ? `as ${files.name}; worst: ${name}` : `as ${files.name}`);
}
