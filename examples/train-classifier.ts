/**
 * Trains the small classifier whose features measure the Fréchet distance on `shapes`.
 *
 *     npx tsx examples/train-classifier.ts [--images 150000] [--out assets/shapes16-classifier.safetensors] [--seed 0]
 *
 * Prints the accuracy on fresh images; it is written into the file's metadata with command, seed and images.
 */
import * as tf from '@tensorflow/tfjs-core';
import { Adam, dataStatistics, ImageClassifier, oneHot, openBackend, PhiloxRandom, toFloat, valueAndGradients } from 'onestep';
import { runExample } from './support/run-example.js';
import { evaluationSet, trainingSet } from './support/shapes16.js';

const USAGE = 'npx tsx examples/train-classifier.ts [--images 150000] [--out assets/shapes16-classifier.safetensors] [--seed 0]';

const options = {
  images: { type: 'string', default: '150000' },
  out: { type: 'string', default: 'assets/shapes16-classifier.safetensors' },
  seed: { type: 'string', default: '0' },
} as const;

await runExample(USAGE, options, async (values) => {
  const images = Number(values.images);
  const batchSize = 128;

  await openBackend();
  const classifier = new ImageClassifier({ channels: 3, classes: 10, widths: [16, 32, 64], features: 64 }, 'shapes16-classifier');
  classifier.initialize(new PhiloxRandom(Number(values.seed)));
  const optimizer = new Adam({ learningRate: 2e-3, beta1: 0.9, beta2: 0.999 });
  optimizer.bind(classifier.parameters());
  const weights = () => optimizer.parameters.map(({ value }) => value);

  const train = trainingSet();
  await train.open();
  for (let seen = 0; seen < images; seen += batchSize) {
    const batch = await train.read(Uint32Array.from({ length: batchSize }, (_, i) => seen + i));
    const loss = tf.tidy(() => {
      const x = tf.tensor4d(toFloat(batch.images), [...batch.shape]);
      const labels = tf.tensor2d(oneHot(batch.labels!, 10), [batchSize, 10]);
      const crossEntropy = () => tf.neg(tf.mean(tf.sum(tf.mul(labels, tf.logSoftmax(classifier.forward(x).logits)), 1)));
      const { value, gradients } = valueAndGradients(crossEntropy, weights());
      optimizer.step(gradients, { learningRateScale: Math.min(1, (2 * (images - seen)) / images), stage: 'classifier' });
      return value.dataSync()[0]!;
    });
    if ((seen / batchSize) % 100 === 0) console.log(`${seen} of ${images} images, cross-entropy ${loss.toFixed(3)}`);
  }

  const test = evaluationSet();
  await test.open();
  const fresh = await test.read(Uint32Array.from({ length: 5_000 }, (_, i) => i));
  const correct = tf.tidy(() => {
    const { logits } = classifier.forward(tf.tensor4d(toFloat(fresh.images), [...fresh.shape]));
    return tf
      .argMax(logits, 1)
      .dataSync()
      .filter((label, i) => label === fresh.labels![i]).length;
  });
  const accuracy = (correct / 5_000).toFixed(4);
  console.log(`accuracy on 5,000 fresh images: ${accuracy}`);
  // Features of total variance 100 on real images: a Fréchet distance of 100 is then about that of one repeated image.
  const { covariance } = await dataStatistics(classifier, test, 5_000);
  const variance = Array.from({ length: 64 }, (_, i) => covariance[i * 65]!).reduce((a, b) => a + b);
  classifier.scaleFeatures(Math.sqrt(100 / variance));
  const command = `npx tsx examples/train-classifier.ts --images ${images} --seed ${values.seed}`;
  await classifier.save(values.out, { command, images: String(images), accuracy });
});
