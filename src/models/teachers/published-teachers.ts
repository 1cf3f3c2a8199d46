/**
 * The published EDM teachers (arXiv 2206.00364) by the names of their files, and what a reference to a file of weights resolves to.
 */
import { resolveReference, type PublishedFile, type ResolveReferenceOptions } from '../../core/download/index.js';
import { createBackbone, publishedBackbones } from '../backbones/config.js';

/** A published teacher. */
export interface PublishedTeacher extends PublishedFile {
  readonly name: PublishedTeacherName;
  /** Its architecture, a key of `publishedBackbones`. */
  readonly network: keyof typeof publishedBackbones;
}

const NETWORKS = {
  'edm-cifar10-32x32-uncond-vp': 'cifar10-ddpmpp-uncond',
  'edm-cifar10-32x32-uncond-ve': 'cifar10-ncsnpp-uncond',
  'edm-cifar10-32x32-cond-vp': 'cifar10-ddpmpp-cond',
  'edm-cifar10-32x32-cond-ve': 'cifar10-ncsnpp-cond',
  'edm-ffhq-64x64-uncond-vp': 'ffhq64-ddpmpp',
  'edm-ffhq-64x64-uncond-ve': 'ffhq64-ncsnpp',
  'edm-afhqv2-64x64-uncond-vp': 'afhqv2-ddpmpp',
  'edm-afhqv2-64x64-uncond-ve': 'afhqv2-ncsnpp',
  'edm-imagenet-64x64-cond-adm': 'imagenet64-adm',
} as const satisfies Record<string, keyof typeof publishedBackbones>;

/** A name of a published teacher. */
export type PublishedTeacherName = keyof typeof NETWORKS;

const ADDRESS = 'https://nvlabs-fi-cdn.nvidia.com/edm/pretrained';

const LICENCE =
  'its weights are published by NVIDIA under CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/): ' +
  'not for commercial use, what is made of them is shared alike and names them';

/** The published teachers. No checksum is published for them: their length and both ends are looked at. */
export const publishedTeachers: Readonly<Record<PublishedTeacherName, PublishedTeacher>> = Object.fromEntries(
  (Object.keys(NETWORKS) as PublishedTeacherName[]).map((name): [string, PublishedTeacher] => [
    name,
    { name, network: NETWORKS[name], address: `${ADDRESS}/${name}.pkl`, fileName: `${name}.pkl`, format: 'pickle', licence: LICENCE },
  ]),
) as Record<PublishedTeacherName, PublishedTeacher>;

/** Parameters of a published teacher's network, and about how many bytes its file has: 4 a parameter or buffered value. Nothing is allocated. */
export function publishedTeacherSize(name: PublishedTeacherName): { parameters: number; bytes: number } {
  const backbone = createBackbone(publishedBackbones[NETWORKS[name]]);
  const values = backbone.tensors().reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { parameters: backbone.parameterCount(), bytes: 4 * values };
}

/** Options of `resolveFile`. */
export type ResolveFileOptions = Omit<ResolveReferenceOptions, 'published'>;

/**
 * The path of a file of weights, fetched into the cache if it is not there: a path, a name of `publishedTeachers`, `https://…`
 * or `hf:owner/name[/file][@revision]`, which may also be a folder of config.json and safetensors.
 *
 * Says the licence of a published teacher before it fetches it. Throws as `resolveReference`.
 */
export const resolveFile = (reference: string, options: ResolveFileOptions = {}): Promise<string> =>
  resolveReference(reference, { ...options, published: publishedTeachers });
