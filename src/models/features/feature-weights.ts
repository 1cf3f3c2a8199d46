/**
 * Where the feature networks' weights are published, and how a file of them is opened.
 */
import { join } from 'node:path';
import { resolveReference, type PublishedFile } from '../../core/download/index.js';
import { WeightsError } from '../../core/errors.js';
import { readSafetensors } from '../../core/safetensors.js';
import type { TensorFile } from '../../core/tensor-file.js';
import { openTorchFile } from '../../core/torch-file/index.js';
import type { Module, WeightSource } from '../nn/module.js';
import { renamed, weightsOf } from '../nn/weights.js';
import { probe } from '../teachers/probe.js';
import { torchTensors } from '../teachers/torch-tensors.js';

/** Files that have no `hf:` reference, by the name of their network. */
export const publishedFeatures: Readonly<Record<string, PublishedFile>> = {
  'inception-v3-fid': {
    address: 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth',
    fileName: 'pt_inception-2015-12-05-6726825d.pth',
    sha256: '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
    licence:
      "pytorch-fid publishes this conversion of TensorFlow's Inception-v3 of 2015 under the Apache 2.0 licence, as TensorFlow's is; it was trained on ImageNet, which has terms of its own",
  },
  dinov2_vitl14: {
    address: 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth',
    fileName: 'dinov2_vitl14_pretrain.pth',
    licence: 'Meta publishes the weights of DINOv2 under the Apache 2.0 licence',
  },
  vgg16_bn: {
    address: 'https://download.pytorch.org/models/vgg16_bn-6c64b313.pth',
    fileName: 'vgg16_bn-6c64b313.pth',
    // PyTorch writes the beginning of the checksum into the name.
    sha256: '6c64b313',
    licence: 'torchvision publishes its weights under the BSD 3-Clause licence; they were trained on ImageNet, which has terms of its own',
  },
};

/** How references are resolved. */
export interface FeatureWeightsOptions {
  /** Where downloads are kept; undefined: `cacheDirectory()`. */
  cacheDir?: string | undefined;
  /** True: nothing is downloaded; undefined: as ONESTEP_OFFLINE and HF_HUB_OFFLINE say. */
  offline?: boolean | undefined;
}

/** Opens a file of weights, or the one in a folder of a published name: safetensors or a PyTorch state dict, by content. */
export async function openWeightsFile(path: string): Promise<TensorFile> {
  const { container, names } = await probe(path);
  if (container === 'folder') {
    const file = ['model.safetensors', 'pytorch_model.bin'].find((name) => names.includes(name));
    if (file === undefined)
      throw new WeightsError('E_WEIGHTS_UNKNOWN', `${path}: expected model.safetensors or pytorch_model.bin in the folder, found neither`, {
        help: 'give the file itself',
      });
    return openWeightsFile(join(path, file));
  }
  return container === 'safetensors' ? readSafetensors(path) : torchTensors((await openTorchFile(path)).root, path);
}

/** The tensors of `network` in `file`: what stands before their names, such as `model.` or `module.`, is found out. */
function withoutPrefix(file: TensorFile, network: Module): TensorFile {
  const wanted = network.tensors().map(({ name }) => name);
  const anchor = wanted.find((name) => name.includes('.')) ?? wanted[0]!;
  if (file.tensors.has(anchor)) return file;
  const prefixes = [...file.tensors.keys()].filter((name) => name.endsWith(`.${anchor}`)).map((name) => name.slice(0, -anchor.length));
  const prefix = prefixes.length === 1 ? prefixes[0]! : '';
  return renamed(file, new Map(wanted.filter((name) => file.tensors.has(prefix + name)).map((name) => [name, prefix + name])));
}

/**
 * Opens what `reference` names: a path, `https://…`, `hf:owner/name[/file]`, or a name of `publishedFeatures`; safetensors or a
 * PyTorch state dict, found out by content. Nothing but the header is read. Throws as `resolveReference` and the formats' readers.
 */
export async function openFeatureFile(
  reference: string,
  { cacheDir, offline }: FeatureWeightsOptions = {},
): Promise<{ file: TensorFile; path: string }> {
  const path = await resolveReference(reference, {
    published: publishedFeatures,
    ...(cacheDir !== undefined && { cacheDir }),
    ...(offline !== undefined && { offline }),
  });
  return { file: await openWeightsFile(path), path };
}

/** `openFeatureFile` as a source of the tensors of `network`. */
export async function openFeatureWeights(reference: string, network: Module, options: FeatureWeightsOptions = {}): Promise<WeightSource> {
  const { file, path } = await openFeatureFile(reference, options);
  return weightsOf(withoutPrefix(file, network), path);
}
