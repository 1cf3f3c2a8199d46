/** Trains the teacher at 32 px, once. */
import { Adam, charts, consoleProgress, htmlReport, jsonlLog, sampleImages, saveBackbone, trainTeacher } from 'onestep';
import { finished } from './run-example.js';
import { exists } from './shapes-classifier.js';
import { backbone, trainingSet } from './shapes32.js';

interface TeacherTraining {
  /** Of the finished teacher, `….safetensors`; its run lies in the directory of the same name. */
  path: string;
  images: number;
  batchSize: number;
  seed: number;
}

/** The path, after the teacher was trained there where it was not; an interrupted training goes on. */
export async function keptTeacher({ path, images, batchSize, seed }: TeacherTraining): Promise<string> {
  if (await exists(path)) {
    console.log(`teacher: from ${path}`);
    return path;
  }
  const run = trainTeacher({
    backbone,
    data: trainingSet(),
    schedule: { images, batchSize, warmUp: images / 10, coolDown: images / 2 },
    optimizer: new Adam({ learningRate: 1e-3, beta1: 0.9, beta2: 0.999 }),
    seed,
    intervals: { checkpoint: 2, snapshot: 0, samples: images / 4_000, evaluation: 0 },
    sinks: [consoleProgress(), jsonlLog(), sampleImages({ scale: 3 }), charts(), htmlReport({ title: 'Teacher at 32 px' })],
    sampleCount: 32,
    runDir: path.replace(/\.safetensors$/, ''),
  });
  const { teacher } = await finished(run);
  await saveBackbone(path, teacher.backbone, { metadata: { onestep: 'teacher' } });
  teacher.backbone.dispose();
  return path;
}
