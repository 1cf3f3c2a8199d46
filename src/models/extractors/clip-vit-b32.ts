/**
 * The image encoder of CLIP ViT-B/32 (Radford et al. 2021, arXiv 2103.00020), which CLIP-FID uses (Kynkäänniemi et al. 2022, arXiv 2203.06026).
 */
import { z } from 'zod';
import type { ImageShape } from '../../core/contracts/metric.js';
import { parseOptions } from '../../core/options.js';
import { extractorOptions, NetworkExtractor, type PretrainedExtractor } from './network-extractor.js';
import { centreCrop, normalized, resizeBytes, shorterSideSize } from './prepare-images.js';
import { VisionTransformer, type VisionTransformerConfig } from './vision-transformer.js';
import type { Placement, WeightLayout } from './weight-layout.js';

const SIZE = 224;

/** Of CLIP's training images. */
const CLIP_STATISTICS = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] } as const;

/** The published architecture. */
export const CLIP_VIT_B32 = {
  size: SIZE,
  patch: 32,
  width: 768,
  depth: 12,
  heads: 12,
  epsilon: 1e-5,
  activation: 'quick-gelu',
  layerScale: false,
  patchBias: false,
  preNorm: true,
  projection: 512,
} as const satisfies VisionTransformerConfig;

/** `blocks.I.REST` as its parts; undefined for what is in no block. */
const inBlock = (name: string): { block: string; rest: string } | undefined => {
  const match = /^blocks\.(\d+)\.(.+)$/.exec(name);
  return match ? { block: match[1]!, rest: match[2]! } : undefined;
};

const OPENAI_NAMES: Readonly<Record<string, Placement>> = {
  cls_token: 'visual.class_embedding',
  pos_embed: 'visual.positional_embedding',
  'patch_embed.proj.weight': 'visual.conv1.weight',
  'norm_pre.weight': 'visual.ln_pre.weight',
  'norm_pre.bias': 'visual.ln_pre.bias',
  'norm.weight': 'visual.ln_post.weight',
  'norm.bias': 'visual.ln_post.bias',
  'head.weight': { transposed: 'visual.proj' },
};

const openAi: WeightLayout = {
  name: 'OpenAI (visual.conv1.weight, …)',
  place(name) {
    const found = inBlock(name);
    if (!found) return OPENAI_NAMES[name]!;
    const rest = found.rest
      .replace(/^norm(\d)/, 'ln_$1')
      .replace('attn.qkv.', 'attn.in_proj_')
      .replace('attn.proj', 'attn.out_proj')
      .replace('mlp.fc1', 'mlp.c_fc')
      .replace('mlp.fc2', 'mlp.c_proj');
    return `visual.transformer.resblocks.${found.block}.${rest}`;
  },
};

const HUGGING_FACE_NAMES: Readonly<Record<string, string>> = {
  cls_token: 'vision_model.embeddings.class_embedding',
  pos_embed: 'vision_model.embeddings.position_embedding.weight',
  'patch_embed.proj.weight': 'vision_model.embeddings.patch_embedding.weight',
  // The published name is misspelt.
  'norm_pre.weight': 'vision_model.pre_layrnorm.weight',
  'norm_pre.bias': 'vision_model.pre_layrnorm.bias',
  'norm.weight': 'vision_model.post_layernorm.weight',
  'norm.bias': 'vision_model.post_layernorm.bias',
  'head.weight': 'visual_projection.weight',
};

const huggingFace: WeightLayout = {
  name: 'Hugging Face (vision_model.embeddings.patch_embedding.weight, …)',
  place(name) {
    const found = inBlock(name);
    if (!found) return HUGGING_FACE_NAMES[name]!;
    const layer = `vision_model.encoder.layers.${found.block}`;
    const qkv = /^attn\.qkv\.(.+)$/.exec(found.rest);
    if (qkv) return ['q', 'k', 'v'].map((part) => `${layer}.self_attn.${part}_proj.${qkv[1]!}`);
    return `${layer}.${found.rest.replace(/^norm(\d)/, 'layer_norm$1').replace('attn.proj', 'self_attn.out_proj')}`;
  },
};

/** Published layouts of CLIP's image encoder. */
export const CLIP_LAYOUTS: readonly WeightLayout[] = [huggingFace, openAi];

/** The pixels that CLIP sees: Pillow's bicubic on bytes, the shorter side to 224, and the middle of the longer one. */
export function clipPixels(images: Uint8Array, shape: ImageShape): Uint8Array {
  const [height, width] = shorterSideSize(shape, SIZE);
  const resized = resizeBytes(images, shape, [height, width]);
  return centreCrop(resized, [shape[0], height, width, 3], SIZE);
}

const schema = extractorOptions.extend({
  /** A path, `https://…`, `hf:owner/name/file`: safetensors or a PyTorch state dict with Hugging Face's or OpenAI's names. */
  weights: z.string().min(1).default('hf:openai/clip-vit-base-patch32/pytorch_model.bin'),
});

/** Options of `clipVitB32`. @interface */
export type ClipVitB32Options = z.input<typeof schema>;

/**
 * The 512 dimensions of CLIP's image embedding, not normalised to length 1: the features of CLIP-FID.
 *
 * Images `[B, H, W, 3]` or `[B, H, W, 1]`, uint8, of any size. Throws `E_CONFIG`; `prepare` throws `E_WEIGHTS_MISMATCH` for another
 * network's file, and as `resolveReference`.
 */
export const clipVitB32 = (options: ClipVitB32Options = {}): PretrainedExtractor => clipExtractor(CLIP_VIT_B32, options);

/** `clipVitB32` of another width, depth or projection. */
export function clipExtractor(config: VisionTransformerConfig & { projection: number }, options: ClipVitB32Options): PretrainedExtractor {
  const { weights, ...rest } = parseOptions(schema, options, 'clipVitB32');
  return new NetworkExtractor({
    name: 'clip-vit-b32',
    dimensions: config.projection,
    weights,
    options: rest,
    batchSize: 32,
    layouts: CLIP_LAYOUTS,
    create: () => new VisionTransformer(config),
    arithmetic: `pillow bicubic uint8 ${SIZE}, centre crop`,
    prepareImages: (images, shape) => normalized(clipPixels(images, shape), shape[0], SIZE, CLIP_STATISTICS),
    features: (network, x) => network.features(x),
  });
}
