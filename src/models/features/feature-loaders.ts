/**
 * The feature networks of the method as parts: where their weights are, read when a run starts.
 */
import { z } from 'zod';
import { lookAtFile } from '../../core/download/index.js';
import { parseOptions } from '../../core/options.js';
import { Deit, type DeitVariant } from './deit.js';
import { EfficientNetLite, type EfficientNetLiteVariant } from './efficientnet-lite.js';
import type { FeatureNetworkLoader } from './feature-network.js';
import { openFeatureWeights } from './feature-weights.js';
import type { PretrainedFeatures } from './pretrained-features.js';
import { Vgg16Bn } from './vgg16-bn.js';

const shared = z.strictObject({
  /** Where downloads are kept; undefined: `cacheDirectory()`. */
  cacheDir: z.string().min(1).optional(),
  /** True: nothing is downloaded; undefined: as ONESTEP_OFFLINE and HF_HUB_OFFLINE say. */
  offline: z.boolean().optional(),
});

const sized = shared.extend({
  /** Height and width in pixels to which images are resized; a multiple of 32. */
  size: z.number().int().positive().multipleOf(32).default(224),
});

const readout = shared.extend({
  /** Channels of the random readout's four maps, finest first. */
  channels: z.tuple([z.int().positive(), z.int().positive(), z.int().positive(), z.int().positive()]).default([96, 192, 384, 768]),
});

/** Options of `vgg16bn` and `efficientnetLite`. @interface */
export type FeatureLoaderOptions = z.input<typeof sized>;

/** Options of `deit`. @interface */
export type DeitLoaderOptions = z.input<typeof readout>;

function loader(
  part: string,
  weights: string,
  options: { cacheDir?: string | undefined; offline?: boolean | undefined },
  create: () => PretrainedFeatures,
): FeatureNetworkLoader {
  // A run needs what is computed with, not what the file holds besides.
  const light = () => create().freePublished();
  return {
    name: create().name,
    description: { part, options: { weights, ...options } },
    describe: light,
    check: ({ localOnly }) =>
      lookAtFile(localOnly, async () => {
        const network = create();
        network.expectWeights(await openFeatureWeights(weights, network, localOnly ? { ...options, offline: true } : options));
      }),
    load: async (random) => {
      const network = light();
      try {
        await network.load(await openFeatureWeights(weights, network, options));
        network.readout?.initialize(random);
      } catch (error) {
        network.dispose();
        throw error;
      }
      return network;
    },
  };
}

/**
 * VGG16-BN with torchvision's weights; {@link Vgg16Bn} says its stages.
 *
 * `weights`: a path, `https://…`, `hf:owner/name[/file]`, or `vgg16_bn`, torchvision's published file. Throws `E_CONFIG`; loading throws
 * `E_WEIGHTS_MISMATCH` for another network's file, and as `resolveReference`.
 */
export function vgg16bn(weights = 'vgg16_bn', options: FeatureLoaderOptions = {}): FeatureNetworkLoader {
  const { size, ...parsed } = parseOptions(sized, options, 'vgg16bn');
  return loader('vgg16bn', weights, { size, ...parsed } as object, () => new Vgg16Bn({ size }));
}

/**
 * EfficientNet-lite with timm's weights (`tf_efficientnet_lite0` to `lite4`); {@link EfficientNetLite} says its stages.
 *
 * `weights`: as for {@link vgg16bn}; default timm's repository `hf:timm/tf_efficientnet_lite0.in1k`.
 */
export function efficientnetLite(
  variant: EfficientNetLiteVariant,
  weights?: string,
  options: FeatureLoaderOptions = {},
): FeatureNetworkLoader {
  const kind = parseOptions(z.enum(['lite0', 'lite1', 'lite2', 'lite3', 'lite4']), variant, 'efficientnetLite');
  const { size, ...parsed } = parseOptions(sized, options, 'efficientnetLite');
  const reference = weights ?? `hf:timm/tf_efficientnet_${kind}.in1k/model.safetensors`;
  return loader(
    'efficientnetLite',
    reference,
    { variant: kind, size, ...parsed } as object,
    () => new EfficientNetLite({ variant: kind, size }),
  );
}

/** `efficientnetLite('lite0', …)`, the method's. */
export const efficientnetLite0 = (weights?: string, options: FeatureLoaderOptions = {}): FeatureNetworkLoader =>
  efficientnetLite('lite0', weights, options);

/**
 * Distilled DeiT with timm's weights (`deit_base_distilled_patch16_224` and its smaller ones) and a random readout; {@link Deit} says its stages.
 *
 * `weights`: as for {@link vgg16bn}; default timm's repository `hf:timm/deit_base_distilled_patch16_224.fb_in1k`.
 */
export function deit(variant: DeitVariant = 'base', weights?: string, options: DeitLoaderOptions = {}): FeatureNetworkLoader {
  const kind = parseOptions(z.enum(['tiny', 'small', 'base']), variant, 'deit');
  const { channels, ...parsed } = parseOptions(readout, options, 'deit');
  const reference = weights ?? `hf:timm/deit_${kind}_distilled_patch16_224.fb_in1k/model.safetensors`;
  return loader('deit', reference, { variant: kind, channels, ...parsed } as object, () => new Deit({ variant: kind, channels }));
}
