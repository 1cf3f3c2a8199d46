/** Compares the teacher at one evaluation, the teacher at 35 and the student at one. */
import {
  type Backbone,
  dataStatistics,
  encodePng,
  featureStatistics,
  frechetDistance,
  imageGrid,
  safetensorsTeacher,
  teacherImages,
  type GeneratedImages,
  type GaussianStatistics,
  type ImageClassifier,
  type DataSource,
  type Student,
  type TeacherLoader,
} from 'onestep';
import * as shapes16 from './shapes16.js';

const REFERENCE_IMAGES = 10_000;
const MULTI_STEPS = 18;

export interface Comparison {
  frechet: { teacherOneStep: number; teacherMultiStep: number; studentOneStep: number; real: number };
  imagesPerSecond: { teacherMultiStep: number; studentOneStep: number };
  pictures: GeneratedImages[];
  table: string;
}

/** What generators are measured against; `support/shapes16.ts` and `support/shapes32.ts` are such. */
export interface ShapesSets {
  trainingSet: () => DataSource;
  evaluationSet: () => DataSource;
}

/** Mean and covariance of the held-out images. */
export async function shapesReference(classifier: ImageClassifier, { evaluationSet }: ShapesSets = shapes16): Promise<GaussianStatistics> {
  const reference = evaluationSet();
  await reference.open();
  return dataStatistics(classifier, reference, REFERENCE_IMAGES);
}

/** Fréchet distances of a teacher at one evaluation and at 35, on `images` images each. */
export async function scoreTeacher(backbone: Backbone, classifier: ImageClassifier, images: number) {
  const reference = await shapesReference(classifier);
  const at = async (steps: number) =>
    frechetDistance((await featureStatistics(classifier, teacherImages(backbone, { count: images, seed: 1, steps }))).result(), reference);
  return { teacherOneStep: await at(1), teacherMultiStep: await at(MULTI_STEPS) };
}

interface CompareOptions {
  student: Student;
  classifier: ImageClassifier;
  /** Default: the quickstart's teacher. */
  teacher?: TeacherLoader;
  /** Default: `shapes` at 16 px. */
  sets?: ShapesSets;
  /** Images of each generator. */
  images: number;
  log: (line: string) => void;
}

export async function compare(options: CompareOptions): Promise<Comparison> {
  const { student, classifier, images, log, sets = shapes16 } = options;
  const { teacher = safetensorsTeacher(shapes16.asset('shapes16-teacher.safetensors')) } = options;
  const reference = await shapesReference(classifier, sets);
  const distance = async (generated: GeneratedImages) =>
    frechetDistance((await featureStatistics(classifier, generated)).result(), reference);
  const { backbone } = await teacher.load();
  const timed = (make: () => GeneratedImages) => {
    const start = performance.now();
    const generated = make();
    return { generated, imagesPerSecond: (images * 1000) / (performance.now() - start) };
  };
  const progress = (done: number) => {
    if (done === images || Math.floor(done / 128) > Math.floor((done - 64) / 128))
      log(`  teacher, 35 evaluations: ${done} of ${images} images`);
  };

  log(`comparing on ${images} images each`);
  student.generate({ count: 64 }); // Warm-up: the first evaluation allocates and, on wasm, compiles.
  const one = timed(() => student.generate({ count: images, seed: 1 }));
  const oneStep = teacherImages(backbone, { count: images, seed: 1, steps: 1 });
  const many = timed(() => teacherImages(backbone, { count: images, seed: 1, steps: MULTI_STEPS, onProgress: progress }));
  backbone.dispose();
  const fresh = sets.trainingSet();
  const opened = await fresh.open();
  const real = await fresh.read(Uint32Array.from({ length: images }, (_, i) => opened.size - 1 - i));
  const realImages = { images: real.images, shape: [...real.shape] as GeneratedImages['shape'], labels: real.labels };

  const frechet = {
    teacherOneStep: await distance(oneStep),
    teacherMultiStep: await distance(many.generated),
    studentOneStep: await distance(one.generated),
    real: await distance(realImages),
  };
  const imagesPerSecond = { teacherMultiStep: many.imagesPerSecond, studentOneStep: one.imagesPerSecond };
  const row = (name: string, evaluations: string, value: number, speed?: number) =>
    `${name.padEnd(10)}${evaluations.padStart(12)}${value.toFixed(2).padStart(18)}${(speed === undefined ? '' : speed.toFixed(1)).padStart(15)}`;
  const table = [
    `${''.padEnd(10)}${'evaluations'.padStart(12)}${'Fréchet distance'.padStart(18)}${'images/s'.padStart(15)}`,
    row('teacher', '1', frechet.teacherOneStep),
    row('teacher', String(2 * MULTI_STEPS - 1), frechet.teacherMultiStep, imagesPerSecond.teacherMultiStep),
    row('student', '1', frechet.studentOneStep, imagesPerSecond.studentOneStep),
    row('real', '-', frechet.real),
  ].join('\n');
  return { frechet, imagesPerSecond, pictures: [oneStep, many.generated, one.generated, realImages], table };
}

/** One block of rows for each generator, from the same latents; PNG. */
export function comparisonPicture({ pictures }: Comparison, columns = 16, rows = 2): Uint8Array {
  const [, height, width, channels] = pictures[0]!.shape;
  const block = columns * rows * height * width * channels;
  const all = new Uint8Array(pictures.length * block);
  pictures.forEach(({ images }, index) => all.set(images.subarray(0, block), index * block));
  const captions = ['teacher 1 step', 'teacher 35 evals', 'student 1 step', 'real images'];
  const rowCaptions = captions.flatMap((caption) => [caption, ...Array<string>(rows - 1).fill('')]);
  return encodePng(imageGrid(all, [pictures.length * columns * rows, height, width, channels], { columns, scale: 3, rowCaptions }));
}
