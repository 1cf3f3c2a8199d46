/**
 * Which layers are active at which noise level, and what freezing and distillation change: the quickstart's teacher beside its GDD-I student
 * and a GDD student, layer by layer.
 *
 *     npx tsx examples/layer-activation.ts [--images 128] [--student runs/quickstart/student.safetensors] [--sigmas 0.002,…,80]
 *
 * The GDD-I student is the quickstart's where there is one; what is not there is distilled first, into the run directory, and kept.
 * Leaves blocks.svg, layers.svg, spectra.svg, spectra-by-sigma.svg, table.txt, activations.csv, spectra.csv and analysis.json.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  analyzeActivations,
  consoleProgress,
  distill,
  formatActivations,
  freezeConvolutions,
  freezeNothing,
  gddPreconditioning,
  jsonlLog,
  loadStudent,
  openBackend,
  safetensorsTeacher,
  spectralDistance,
  summarizeActivations,
  writeActivationAnalysis,
  type ActivationAnalysis,
  type FreezePolicy,
  type Student,
  type Teacher,
} from 'onestep';
import { recipe } from './support/recipe.js';
import { count, finished, runExample, WrongUsage } from './support/run-example.js';
import { exists } from './support/shapes-classifier.js';
import { asset, evaluationSet } from './support/shapes16.js';

const USAGE = `npx tsx examples/layer-activation.ts [--images 128] [--student runs/quickstart/student.safetensors] [--sigmas 0.002,…,80] [--run-dir runs/layer-activation] [--training-images 6400] [--batch-size 64] [--seed 0]

--images           images at each noise level
--student          a GDD-I student of the shipped teacher; default the quickstart's where there is one, else, or for 'none', one is distilled
--sigmas           noise levels, rising
--training-images  images that each student sees which is distilled here: 6400 with native TensorFlow, else 1280
--batch-size       of that distillation
--seed             of the images and of the distillation`;

const options = {
  images: { type: 'string', default: '128' },
  student: { type: 'string' },
  sigmas: { type: 'string' },
  'run-dir': { type: 'string', default: 'runs/layer-activation' },
  'training-images': { type: 'string' },
  'batch-size': { type: 'string', default: '64' },
  seed: { type: 'string', default: '0' },
} as const;

await runExample(USAGE, options, async (values) => {
  const runDir = values['run-dir'];
  const [images, batchSize, seed] = [
    count('images', values.images, 1),
    count('batch-size', values['batch-size'], 1),
    count('seed', values.seed, 0),
  ];
  const given = values['training-images'] === undefined ? undefined : count('training-images', values['training-images'], 1);
  const sigmas = values.sigmas === undefined ? {} : { sigmas: noiseLevels(values.sigmas) };
  const backend = await openBackend();
  console.log(`engine: ${backend.description}`);
  const training = { images: given ?? (backend.name === 'tensorflow' ? 6_400 : 1_280), batchSize, seed };

  const data = evaluationSet();
  const { size } = await data.open();
  await data.close();
  if (images > size) throw new WrongUsage(`--images: expected at most the ${size} of the evaluation set, found '${images}'`);
  const teacher = await safetensorsTeacher(asset('shapes16-teacher.safetensors')).load();
  const found = await sharingStudent(values.student, teacher);
  const gddI = found ?? (await keptStudent(join(runDir, 'gdd-i'), freezeConvolutions(), training));
  const gdd = await keptStudent(join(runDir, 'gdd'), freezeNothing(), training);

  const preconditioning = gddPreconditioning();
  const start = performance.now();
  let told = 0;
  const analysis = await analyzeActivations({
    networks: [
      { name: 'teacher', backbone: teacher.backbone },
      { name: 'GDD-I', backbone: gddI.backbone, preconditioning },
      { name: 'GDD', backbone: gdd.backbone, preconditioning },
    ],
    data,
    images,
    seed,
    ...sigmas,
    onProgress: (done, total) => {
      if (done < total && performance.now() - told < 5_000) return;
      told = performance.now();
      console.log(`analysis: ${done} of ${total} evaluations`);
    },
  });
  for (const network of [teacher.backbone, gddI, gdd]) network.dispose();

  await mkdir(runDir, { recursive: true });
  const paths = await writeActivationAnalysis(runDir, analysis);
  console.log(`\n${formatActivations(analysis)}\n\n${findings(analysis).join('\n')}`);
  console.log(`\n${((performance.now() - start) / 1000).toFixed(0)} s; see ${paths.filter((path) => path.endsWith('.svg')).join(', ')}`);
});

function noiseLevels(text: string): number[] {
  const sigmas = text.split(',').map(Number);
  if (sigmas.some((sigma, k) => !(sigma > (sigmas[k - 1] ?? 0) && sigma < Infinity)))
    throw new WrongUsage(`--sigmas: expected rising numbers above 0 such as 0.1,1,80, found '${text}'`);
  return sigmas;
}

/** The quickstart's student where it is there, or the one that was asked for: with the frozen weights of this teacher, others compare with nothing. */
async function sharingStudent(given: string | undefined, teacher: Teacher): Promise<Student | undefined> {
  const path = given ?? 'runs/quickstart/student.safetensors';
  if (given === 'none' || (given === undefined && !(await exists(path)))) return undefined;
  const student = await loadStudent(path);
  const policy = freezeConvolutions();
  const theirs = student.backbone.parameters();
  const shares = teacher.backbone.parameters().every((parameter, k) => {
    if (policy.trains(parameter)) return true;
    const [ours, found] = [parameter.value.dataSync(), theirs[k]?.value.dataSync()];
    return ours.every((value, i) => value === found?.[i]);
  });
  if (shares) {
    console.log(`GDD-I: from ${path}`);
    return student;
  }
  student.dispose();
  const message = `${path} was not distilled from the shipped teacher by GDD-I`;
  if (given !== undefined) throw new WrongUsage(`--student: ${message}`);
  console.log(`GDD-I: ${message}, so it is not used`);
  return undefined;
}

/** The student of an earlier call, or a new one that the next call finds; an interrupted distillation goes on. */
async function keptStudent(
  runDir: string,
  freeze: FreezePolicy,
  training: { images: number; batchSize: number; seed: number },
): Promise<Student> {
  const path = join(runDir, 'student.safetensors');
  if (await exists(path)) {
    console.log(`${freeze.name}: from ${path}`);
    return loadStudent(path);
  }
  console.log(`${freeze.name}: distilling with ${training.images} images`);
  const run = distill({
    ...recipe({ ...training, freeze }),
    intervals: { checkpoint: 1, snapshot: 0, samples: 0, evaluation: 0 },
    sinks: [consoleProgress(), jsonlLog()],
    runDir,
  });
  const { student } = await finished(run);
  await student.save(path);
  return student;
}

/** What is seen, in a few lines. */
function findings(analysis: ActivationAnalysis): string[] {
  const { networks, sigmas, real } = analysis;
  const last = sigmas.length - 1;
  const [blocks, layers] = [summarizeActivations(analysis, 'block'), summarizeActivations(analysis, 'layer')];
  const active = ({ peaks }: (typeof blocks)[number]) => peaks.filter((rows) => rows > 0).length;
  const distance = (s: number) =>
    networks.map(({ name, spectra }) => `${name} ${spectralDistance(spectra[s]!.power, real.power).toFixed(2)} dB`).join(', ');
  return [
    `activation depends on the noise level: over ${sigmas[0]} to ${sigmas[last]} the contribution of a block changes ${blocks[0]!.medianRange.toFixed(2)}-fold in the median of the teacher's ${blocks[0]!.rows}; they are most active at ${active(blocks[0]!)} different levels`,
    ...blocks.slice(1).map((summary, k) => {
      const { network, change } = summary;
      const { unchanged, rows } = layers[k + 1]!;
      return `${network}: ${unchanged} of ${rows} layers have the teacher's weights; median |log2 ratio| of a block's contribution to the teacher's ${change.all[0]!.toFixed(2)} at sigma ${sigmas[0]}, ${change.all[last]!.toFixed(2)} at sigma ${sigmas[last]}`;
    }),
    `spectrum against real images at sigma ${sigmas[0]}: ${distance(0)}`,
    `spectrum against real images at sigma ${sigmas[last]}: ${distance(last)}`,
  ];
}
