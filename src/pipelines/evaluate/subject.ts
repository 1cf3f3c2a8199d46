/**
 * What is evaluated: a student, a teacher with its sampler, or a set of images; image i of a seed is the same whoever asks for it.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { DataDescription, DataSource } from '../../core/contracts/data.js';
import { describeProvided } from '../../core/container.js';
import { DownloadError } from '../../core/errors.js';
import { permutation } from '../../data/permutation.js';
import type { Backbone } from '../../models/backbones/backbone.js';
import { teacher as anyTeacher } from '../../models/teachers/any-teacher.js';
import { resolveFile } from '../../models/teachers/published-teachers.js';
import type { Teacher, TeacherLoader } from '../../models/teachers/teacher.js';
import {
  makeInterpolations,
  makeNumberedImages,
  type GeneratedImages,
  type InterpolationOptions,
  type LatentSampler,
} from '../numbered-images.js';
import { studentSampler, type Student } from '../student.js';
import { teacherSampler } from '../teacher-images.js';

/** Opened: images by number. */
export interface Subject {
  readonly kind: 'student' | 'teacher' | 'data';
  readonly name: string;
  /** Says what decides its images, so that an evaluation is never resumed with those of another. */
  readonly identity: string;
  readonly resolution: number;
  readonly channels: number;
  /** Images that there are; undefined: as many as are asked for. */
  readonly size: number | undefined;
  /** Network evaluations an image; undefined for data. */
  readonly evaluations: number | undefined;
  /** Images `first` … `first + count - 1` of `count` or more; of data with fewer than all, those that the seed chooses. */
  images(seed: number, first: number, count: number, of: number): Promise<Pick<GeneratedImages, 'images' | 'shape'>>;
  /** `count` images that stand for the whole: of a generator its first ones, of data a random choice. */
  sample(seed: number, count: number): Promise<Pick<GeneratedImages, 'images' | 'shape'>>;
  interpolations?(options: InterpolationOptions): GeneratedImages;
  /** Frees what was opened here; what was given stays the caller's. */
  close(): Promise<void>;
}

/** A network and how images are made of its latents. */
interface SampledNetwork {
  kind: 'student' | 'teacher';
  name: string;
  backbone: Backbone;
  sample: LatentSampler;
  sampler: Record<string, unknown>;
  evaluations: number;
  close?: () => void;
}

function networkSubject({ kind, name, backbone, sample, sampler, evaluations, close }: SampledNetwork): Subject {
  const { img_resolution: resolution, img_channels: channels } = backbone.config;
  let identity: string | undefined;
  const make = (seed: number, first: number, count: number) => {
    // Matrix products of one row are summed in another order than those of several: a batch of one would round differently.
    const made = makeNumberedImages(backbone, { count: Math.max(2, count), seed, first, batchSize: Math.max(2, count) }, sample);
    const shape: GeneratedImages['shape'] = [count, resolution, resolution, channels];
    return { images: made.images.subarray(0, count * resolution * resolution * channels), shape };
  };
  return {
    kind,
    name,
    get identity() {
      return (identity ??= networkIdentity(backbone, sampler));
    },
    resolution,
    channels,
    size: undefined,
    evaluations,
    images: async (seed, first, count) => make(seed, first, count),
    sample: async (seed, count) => make(seed, 0, count),
    interpolations: (options) => makeInterpolations(backbone, options, sample),
    close: () => Promise.resolve(close?.()),
  };
}

/** SHA-256 of architecture, sampler and every value. */
function networkIdentity(backbone: Backbone, sampler: Record<string, unknown>): string {
  const hash = createHash('sha256').update(JSON.stringify({ config: backbone.config, sampler }));
  for (const tensor of backbone.tensors()) {
    const values = tensor.read();
    hash.update(tensor.name).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return `sha256:${hash.digest('hex')}`;
}

/** A student, or the path of one in any format that holds a network. */
export async function studentSubject(student: Student | string, sigmas?: readonly number[]): Promise<Subject> {
  const given = typeof student !== 'string';
  const { name, backbone } = given ? student : await anyTeacher(student).load();
  return networkSubject({
    kind: 'student',
    name: given ? name : basename(student),
    backbone,
    sample: studentSampler(backbone, sigmas),
    sampler: { sampler: 'student', sigmas: sigmas ?? null },
    evaluations: sigmas?.length ?? 1,
    ...(!given && { close: () => backbone.dispose() }),
  });
}

/** Whether a subject can be opened without fetching anything. Throws as `resolveFile` for a path or name of nothing. */
export async function isSubjectHere({ student, teacher }: { student?: unknown; teacher?: unknown }): Promise<boolean> {
  const given = student ?? teacher;
  if (typeof given !== 'string') return teacher === undefined || !isLoader(teacher as Teacher | TeacherLoader);
  try {
    await resolveFile(given, { offline: true });
    return true;
  } catch (error) {
    if (error instanceof DownloadError && error.code === 'E_DOWNLOAD_OFFLINE') return false;
    throw error;
  }
}

const isLoader = (value: Teacher | TeacherLoader): value is TeacherLoader => 'load' in value;

/** A teacher by its Heun sampler of `steps` steps; what is loaded here is freed at the end. */
export async function teacherSubject(teacher: Teacher | TeacherLoader | string, steps: number): Promise<Subject> {
  const loader = typeof teacher === 'string' ? anyTeacher(teacher) : teacher;
  const loaded = isLoader(loader);
  const { name, backbone } = loaded ? await loader.load() : loader;
  return networkSubject({
    kind: 'teacher',
    name,
    backbone,
    sample: teacherSampler(backbone, steps),
    sampler: { sampler: 'heun', steps },
    evaluations: 2 * steps - 1,
    ...(loaded && { close: () => backbone.dispose() }),
  });
}

/** Images of a set that are read to know it by. */
const PROBED = 64;

/** A digest of what a set says of itself and of images spread over it. */
export async function dataIdentity(source: DataSource, description: DataDescription): Promise<string> {
  const { size } = description;
  const spread = Uint32Array.from({ length: Math.min(PROBED, size) }, (_, i) => Math.floor((i * size) / Math.min(PROBED, size)));
  const hash = createHash('sha256').update(JSON.stringify([describeProvided(source), description]));
  hash.update((await source.read(spread)).images);
  return `sha256:${hash.digest('hex')}`;
}

/** A set of images that is open, and stays so. */
export async function dataSubject(source: DataSource, description: DataDescription): Promise<Subject> {
  const identity = await dataIdentity(source, description);
  let chosen: { seed: number; of: number; indices: Uint32Array } | undefined;
  const indicesOf = (seed: number, of: number): Uint32Array => {
    if (chosen?.seed === seed && chosen.of === of) return chosen.indices;
    const place = permutation(description.size, seed);
    // In the order of the set, in which files are quickest to read.
    const indices = Uint32Array.from({ length: of }, (_, i) => (of === description.size ? i : place(i))).sort();
    chosen = { seed, of, indices };
    return indices;
  };
  const read = async (indices: Uint32Array) => {
    const { images, shape } = await source.read(indices);
    return { images, shape: [...shape] as GeneratedImages['shape'] };
  };
  return {
    kind: 'data',
    name: description.name,
    identity,
    resolution: description.resolution,
    channels: description.channels,
    size: description.size,
    evaluations: undefined,
    images: (seed, first, count, of) => read(indicesOf(seed, of).subarray(first, first + count)),
    sample: (seed, count) =>
      read(Uint32Array.from({ length: Math.min(count, description.size) }, (_, i) => permutation(description.size, seed)(i))),
    close: () => Promise.resolve(),
  };
}
