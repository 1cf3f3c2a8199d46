/** Trains classifiers on `shapes`: features for a Fréchet distance or for a discriminator. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import {
  Adam,
  dataStatistics,
  ImageClassifier,
  loadImageClassifier,
  oneHot,
  PhiloxRandom,
  toFloat,
  valueAndGradients,
  type DataSource,
  type ImageClassifierConfig,
} from 'onestep';

const BATCH = 128;

export interface ClassifierTraining {
  name: string;
  /** Without the outputs for colours. */
  config: ImageClassifierConfig;
  /** Learns the mean and the deviation of each colour beside the classes: shapes alone leave features nearly colour-blind. */
  colours?: boolean;
  images: number;
  seed: number;
  training: DataSource;
  evaluation: DataSource;
  /** Fresh images for the accuracy and the scale of the features. */
  tested: number;
  log: (line: string) => void;
}

/** The classifier with features of total variance 100 on real images, and its accuracy on fresh ones. */
export async function trainClassifier(options: ClassifierTraining): Promise<{ classifier: ImageClassifier; accuracy: number }> {
  const { name, config, colours = false, images, seed, training, evaluation, tested, log } = options;
  const targets = colours ? 2 * config.channels : 0;
  const classifier = new ImageClassifier({ ...config, classes: config.classes + targets }, name).initialize(new PhiloxRandom(seed));
  const optimizer = new Adam({ learningRate: 2e-3, beta1: 0.9, beta2: 0.999 });
  optimizer.bind(classifier.parameters());
  const weights = () => optimizer.parameters.map(({ value }) => value);

  await training.open();
  for (let seen = 0; seen < images; seen += BATCH) {
    const batch = await training.read(Uint32Array.from({ length: BATCH }, (_, i) => seen + i));
    const loss = tf.tidy(() => {
      const x = tf.tensor4d(toFloat(batch.images), [...batch.shape]);
      const labels = tf.tensor2d(oneHot(batch.labels!, config.classes), [BATCH, config.classes]);
      const objective = () => {
        const [logits, guesses] = tf.split(classifier.forward(x).logits, [config.classes, targets], 1) as [tf.Tensor2D, tf.Tensor2D];
        const crossEntropy = tf.neg(tf.mean(tf.sum(tf.mul(labels, tf.logSoftmax(logits)), 1)));
        const error = colours ? tf.sum(tf.mean(tf.square(tf.sub(guesses, colourTargets(x))), 0)) : tf.scalar(0);
        return { loss: tf.add(crossEntropy, error), crossEntropy };
      };
      const { gradients, aux } = valueAndGradients(objective, weights());
      optimizer.step(gradients, { learningRateScale: Math.min(1, (2 * (images - seen)) / images), stage: 'classifier' });
      return aux.crossEntropy.dataSync()[0]!;
    });
    if ((seen / BATCH) % 25 === 0) log(`${name}: ${seen} of ${images} images, cross-entropy ${loss.toFixed(3)}`);
  }
  optimizer.dispose();

  await evaluation.open();
  const fresh = await evaluation.read(Uint32Array.from({ length: tested }, (_, i) => i));
  const correct = tf.tidy(() => {
    const { logits } = classifier.forward(tf.tensor4d(toFloat(fresh.images), [...fresh.shape]));
    return tf
      .argMax(tf.slice(logits, [0, 0], [-1, config.classes]), 1)
      .dataSync()
      .filter((label, i) => label === fresh.labels![i]).length;
  });
  // Features of total variance 100 on real images: a Fréchet distance of 100 is then about that of one repeated image.
  const { covariance } = await dataStatistics(classifier, evaluation, tested);
  const variance = Array.from({ length: config.features }, (_, i) => covariance[i * (config.features + 1)]!).reduce((a, b) => a + b);
  classifier.scaleFeatures(Math.sqrt(100 / variance));
  const accuracy = correct / tested;
  log(`${name}: accuracy on ${tested.toLocaleString('en-US')} fresh images ${accuracy.toFixed(4)}`);
  return { classifier, accuracy };
}

/** Mean and standard deviation of each colour over the pixels, `[B, 2 C]`. */
function colourTargets(x: tf.Tensor4D): tf.Tensor2D {
  const { mean, variance } = tf.moments(x, [1, 2]);
  return tf.concat2d([mean as tf.Tensor2D, tf.sqrt(variance) as tf.Tensor2D], 1);
}

/** The classifier of an earlier call, or a new one that the next call finds at `path`. */
export async function keptClassifier(path: string, options: ClassifierTraining): Promise<ImageClassifier> {
  if (await exists(path)) {
    options.log(`${options.name}: from ${path}`);
    return loadImageClassifier(path);
  }
  const { classifier, accuracy } = await trainClassifier(options);
  await mkdir(dirname(path), { recursive: true });
  await classifier.save(path, { images: String(options.images), seed: String(options.seed), accuracy: accuracy.toFixed(4) });
  return classifier;
}

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
