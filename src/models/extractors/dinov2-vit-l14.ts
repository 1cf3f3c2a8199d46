/**
 * DINOv2 ViT-L/14 (Oquab et al. 2023, arXiv 2304.07193), whose features FD-DINOv2 uses (Stein et al. 2023, arXiv 2306.04675).
 */
import { z } from 'zod';
import { parseOptions } from '../../core/options.js';
import { IMAGENET } from '../features/pretrained-features.js';
import { extractorOptions, NetworkExtractor, type PretrainedExtractor } from './network-extractor.js';
import { normalized, resizeBytes } from './prepare-images.js';
import { VisionTransformer, type VisionTransformerConfig } from './vision-transformer.js';
import type { WeightLayout } from './weight-layout.js';

const SIZE = 224;

/** The published architecture: positions are embedded for images of 518 pixels. */
export const DINOV2_VIT_L14: VisionTransformerConfig = {
  size: SIZE,
  patch: 14,
  width: 1024,
  depth: 24,
  heads: 16,
  epsilon: 1e-6,
  activation: 'gelu',
  layerScale: true,
  patchBias: true,
  preNorm: false,
  positions: 37,
};

const published: WeightLayout = { name: 'Meta and timm (blocks.0.ls1.gamma, …)', place: (name) => name };

/** What stands for parts of names, in this order. */
const HUGGING_FACE_PARTS: readonly (readonly [string | RegExp, string])[] = [
  ['cls_token', 'embeddings.cls_token'],
  ['pos_embed', 'embeddings.position_embeddings'],
  ['patch_embed.proj', 'embeddings.patch_embeddings.projection'],
  [/^norm\./, 'layernorm.'],
  ['attn.proj', 'attention.output.dense'],
  [/ls(\d)\.gamma/, 'layer_scale$1.lambda1'],
  [/^blocks\./, 'encoder.layer.'],
];

const huggingFace: WeightLayout = {
  name: 'Hugging Face (encoder.layer.0.layer_scale1.lambda1, …)',
  place(name) {
    const qkv = /^blocks\.(\d+)\.attn\.qkv\.(.+)$/.exec(name);
    if (qkv) return ['query', 'key', 'value'].map((part) => `encoder.layer.${qkv[1]!}.attention.attention.${part}.${qkv[2]!}`);
    return HUGGING_FACE_PARTS.reduce((result, [from, to]) => result.replace(from, to), name);
  },
};

/** Published layouts of DINOv2. */
export const DINOV2_LAYOUTS: readonly WeightLayout[] = [published, huggingFace];

const schema = extractorOptions.extend({
  /** A path, `https://…`, `hf:owner/name/file`, or `dinov2_vitl14`, the file that Meta publishes. */
  weights: z.string().min(1).default('dinov2_vitl14'),
});

/** Options of `dinov2VitL14`. @interface */
export type Dinov2VitL14Options = z.input<typeof schema>;

/**
 * The 1024 values of DINOv2's class token after the last normalisation: the features of FD-DINOv2, as dgm-eval computes them.
 *
 * Images are resized to 224x224 by Pillow's bicubic on bytes, whatever their aspect. `[B, H, W, 3]` or `[B, H, W, 1]`, uint8, of any
 * size. The weights take 1.2 GB. Throws `E_CONFIG`; `prepare` throws `E_WEIGHTS_MISMATCH` for another network's file, and as
 * `resolveReference`.
 */
export const dinov2VitL14 = (options: Dinov2VitL14Options = {}): PretrainedExtractor => dinov2Extractor(DINOV2_VIT_L14, options);

/** `dinov2VitL14` of another width or depth. */
export function dinov2Extractor(config: VisionTransformerConfig, options: Dinov2VitL14Options): PretrainedExtractor {
  const { weights, ...rest } = parseOptions(schema, options, 'dinov2VitL14');
  return new NetworkExtractor({
    name: 'dinov2-vit-l14',
    dimensions: config.width,
    weights,
    options: rest,
    batchSize: 16,
    layouts: DINOV2_LAYOUTS,
    create: () => new VisionTransformer(config),
    arithmetic: `pillow bicubic uint8 ${SIZE}`,
    prepareImages: (images, shape) => normalized(resizeBytes(images, shape, [SIZE, SIZE]), shape[0], SIZE, IMAGENET),
    features: (network, x) => network.features(x),
  });
}
