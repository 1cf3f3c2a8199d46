import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { engines, useEngine } from '../../../test/support/engines.js';
import { PhiloxRandom } from '../../core/random.js';
import { createBackbone, type BackboneOptions } from '../backbones/config.js';
import { UNetBlock } from '../backbones/unet-block.js';
import { Conv2d, Linear, type LayerInitialization } from './layers.js';
import { isObserved, observeActivations, type Activation } from './observe.js';

const filled = (value: number): LayerInitialization => {
  const fill =
    () =>
    (_: unknown, { size }: { size: number }) =>
      new Float32Array(size).fill(value);
  return { weight: fill, bias: fill };
};

/** What was shown, as plain values. */
function observe(forward: () => tf.Tensor) {
  const seen: { kind: Activation['kind']; name: string; values: Record<string, number[]> }[] = [];
  const output = tf.tidy(() => {
    const made = observeActivations((activation) => {
      const tensors = activation.kind === 'layer' ? { output: activation.output } : activation;
      const values = Object.entries(tensors).flatMap(([key, value]) =>
        value instanceof tf.Tensor ? [[key, Array.from(value.dataSync())] as const] : [],
      );
      seen.push({ kind: activation.kind, name: activation.place.name, values: Object.fromEntries(values) });
    }, forward);
    return Array.from(made.dataSync());
  });
  return { seen, output };
}

const networks: Record<string, BackboneOptions> = {
  SongUNet: {
    model_type: 'SongUNet',
    img_resolution: 8,
    model_channels: 8,
    channel_mult: [1, 2],
    num_blocks: 1,
    attn_resolutions: [4],
    encoder_type: 'residual',
    dropout: 0,
  },
  'SongUNet with skips': {
    model_type: 'SongUNet',
    img_resolution: 8,
    model_channels: 8,
    channel_mult: [1, 2],
    num_blocks: 1,
    attn_resolutions: [],
    encoder_type: 'skip',
    decoder_type: 'skip',
    dropout: 0,
  },
  DhariwalUNet: {
    model_type: 'DhariwalUNet',
    img_resolution: 8,
    model_channels: 32,
    channel_mult: [1, 2],
    num_blocks: 1,
    attn_resolutions: [4],
    dropout: 0,
  },
  DdpmUNet: {
    model_type: 'DdpmUNet',
    img_resolution: 8,
    block_out_channels: [8, 16],
    layers_per_block: 1,
    down_block_types: ['DownBlock2D', 'AttnDownBlock2D'],
    up_block_types: ['AttnUpBlock2D', 'UpBlock2D'],
    norm_num_groups: 4,
    attention_head_dim: null,
  },
};

describe.each(engines)('observeActivations on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  it('shows what a convolution and a fully connected layer give, with their bias, even where the caller adds it later', () => {
    const conv = new Conv2d({ name: 'conv', role: 'conv0' }, 1, 1, filled(2), { kernel: 1 }).initialize(new PhiloxRandom(0));
    const linear = new Linear({ name: 'linear', role: 'mapping' }, 2, 1, filled(3)).initialize(new PhiloxRandom(0));
    const x = tf.tensor4d([1, -1], [1, 2, 1, 1]);
    const values = { output: [4, 0] };
    expect(observe(() => conv.forward(x))).toEqual({ seen: [{ kind: 'layer', name: 'conv', values }], output: [4, 0] });
    expect(observe(() => conv.forwardWithoutBias(x))).toEqual({ seen: [{ kind: 'layer', name: 'conv', values }], output: [2, -2] });
    const y = tf.tensor2d([[1, 1]]);
    expect(observe(() => linear.forward(y)).seen).toEqual([{ kind: 'layer', name: 'linear', values: { output: [9] } }]);
    tf.dispose([x, y]);
    conv.dispose();
    linear.dispose();
  });

  it('shows a block as branch, identity and their scaled sum', () => {
    // All weights 0, all biases 0.5: the branch is conv1's bias, whatever comes in.
    const half = { weight: filled(0).weight, bias: filled(0.5).bias };
    const common = { level: 0, inputs: 4, outputs: 4, embeddingChannels: 2, filter: [1, 1], heads: 0, epsilon: 1e-5, dropout: 0 };
    const block = new UNetBlock({
      ...common,
      name: 'model.block',
      skipScale: 0.25,
      adaptiveScale: false,
      resampleProjection: false,
      initialization: half,
      zeroInitialization: half,
      attentionInitialization: half,
    }).initialize(new PhiloxRandom(0));
    const [x, embedding] = [tf.tensor4d([1, 2, 3, 4], [1, 1, 1, 4]), tf.zeros<tf.Rank.R2>([1, 2])];
    const { seen, output } = observe(() => block.forward(x, embedding));
    expect(seen.map(({ name }) => name)).toEqual(['model.block.affine', 'model.block.conv0', 'model.block.conv1', 'block']);
    expect(seen[3]!.values).toEqual({ branch: [0.5, 0.5, 0.5, 0.5], identity: [1, 2, 3, 4], output });
    expect(output).toEqual([0.375, 0.625, 0.875, 1.125]);
    tf.dispose([x, embedding]);
    block.dispose();
  });

  it.each(Object.keys(networks))('shows every convolution of %s once, changes no bit of its output and leaves no tensor', (name) => {
    const network = createBackbone(networks[name]!).initialize(new PhiloxRandom(1));
    // DhariwalUNet's last layers begin at zero: other values, so that a wrong order would be seen.
    network.parameters().forEach((parameter, k) =>
      parameter.load(
        new PhiloxRandom(k)
          .stream('weights')
          .normal(parameter.size)
          .map((value) => value / 8),
      ),
    );
    const x = tf.tensor4d(new PhiloxRandom(2).stream('x').normal(2 * 8 * 8 * 3), [2, 8, 8, 3]);
    const noise = tf.tensor1d([-0.3, 0.4]);
    const before = tf.memory().numTensors;
    const plain = tf.tidy(() => Array.from(network.forward(x, noise).dataSync()));
    const { seen, output } = observe(() => network.forward(x, noise));
    expect(tf.memory().numTensors).toBe(before);
    expect(output).toEqual(plain);

    const weights = network.parameters().filter(({ kind, name }) => kind !== 'norm' && name.endsWith('.weight'));
    const layers = seen.filter(({ kind }) => kind === 'layer').map((layer) => layer.name);
    expect([...layers].sort()).toEqual(weights.map((weight) => weight.name.replace(/\.weight$/, '')).sort());
    const blocks = new Set(network.parameters().flatMap(({ block }) => block ?? []));
    const sums = seen.filter(({ kind }) => kind === 'sum');
    for (const block of blocks) if (!/samplers/.test(block)) expect(sums.map((sum) => sum.name)).toContain(block);
    for (const { values } of sums) {
      // One scale for the whole sum: branch + identity is proportional to the output.
      const scale = values['output']![0]! / (values['branch']![0]! + values['identity']![0]!);
      values['output']!.forEach((value, k) => expect(value).toBeCloseTo(scale * (values['branch']![k]! + values['identity']![k]!), 3));
    }
    tf.dispose([x, noise]);
    network.dispose();
  });

  it('ends with the pass, also after an error; the inner observer sees alone', () => {
    const linear = new Linear({ name: 'linear', role: 'mapping' }, 1, 1, filled(1)).initialize(new PhiloxRandom(0));
    const x = tf.tensor2d([[1]]);
    const before = tf.memory().numTensors;
    const seen: string[] = [];
    const forward = () => tf.dispose(linear.forward(x));
    observeActivations(
      () => seen.push('outer'),
      () => {
        forward();
        observeActivations(() => seen.push('inner'), forward);
        forward();
      },
    );
    forward();
    expect(seen).toEqual(['outer', 'inner', 'outer']);
    const failing = () =>
      observeActivations(() => {
        throw new Error('mine');
      }, forward);
    expect(failing).toThrow('mine');
    expect(isObserved()).toBe(false);
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
    linear.dispose();
  });
});
