/**
 * The transforms of the augmentation pipe, in its order: what each draws, does and says about it (Karras et al. 2020, appendix B;
 * Karras et al. 2022, appendix F.2).
 */
import type { ImageDraws } from './draws.js';
import {
  brighten,
  flipLuma,
  identity,
  multiply,
  quarterTurn,
  rotation,
  saturate,
  scaleColours,
  scaling,
  translation,
  turnHue,
  type Matrix,
} from './matrices.js';

/** How far the transforms go. */
export interface TransformStrengths {
  translateIntMax: number;
  scaleStd: number;
  rotateFracMax: number;
  anisoStd: number;
  anisoRotateProb: number;
  translateFracStd: number;
  brightnessStd: number;
  contrastStd: number;
  hueMax: number;
  saturationStd: number;
}

/** What a transform does to one image: a map as `blit` and `warp` take it, or a matrix of colours; and its label. */
export interface TransformEffect {
  matrix: Matrix;
  label: readonly number[];
}

/** One transform. */
export interface Transform {
  readonly kind: 'pixels' | 'geometry' | 'colour';
  /** Numbers that an image draws for it, besides the one that decides whether it takes place. */
  readonly uniforms: number;
  readonly normals: number;
  /** Width of its label. */
  readonly labels: number;
  /** Takes all its numbers. */
  draw(draws: ImageDraws, strengths: TransformStrengths, size: readonly [number, number]): TransformEffect;
}

const signed = (uniform: number) => 2 * uniform - 1;

const defined = <Name extends string>(transforms: Readonly<Record<Name, Transform>>) => transforms;

/** By name, in the order of application within a kind; pixels come first, then geometry, then colour. */
export const transforms = defined({
  xflip: {
    kind: 'pixels',
    uniforms: 1,
    normals: 0,
    labels: 1,
    draw: (draws) => {
      const flipped = draws.uniform() >= 0.5;
      return { matrix: flipped ? scaling(-1, 1) : identity(3), label: [Number(flipped)] };
    },
  },
  yflip: {
    kind: 'pixels',
    uniforms: 1,
    normals: 0,
    labels: 1,
    draw: (draws) => {
      const flipped = draws.uniform() >= 0.5;
      return { matrix: flipped ? scaling(1, -1) : identity(3), label: [Number(flipped)] };
    },
  },
  rotateInt: {
    kind: 'pixels',
    uniforms: 1,
    normals: 0,
    labels: 2,
    draw: (draws) => {
      const quarters = Math.floor(4 * draws.uniform());
      return { matrix: quarterTurn(quarters), label: [Number(quarters === 1 || quarters === 2), Number(quarters >= 2)] };
    },
  },
  translateInt: {
    kind: 'pixels',
    uniforms: 2,
    normals: 0,
    labels: 2,
    draw: (draws, { translateIntMax: reach }, [height, width]) => {
      const [x, y] = [width, height].map((size) => Math.round(signed(draws.uniform()) * size * reach)) as [number, number];
      // To the right by x and up by y.
      return {
        matrix: translation(-x, y),
        label: [x, y].map((moved, axis) => (moved === 0 ? 0 : moved / ([width, height][axis]! * reach))),
      };
    },
  },
  scale: {
    kind: 'geometry',
    uniforms: 0,
    normals: 1,
    labels: 1,
    draw: (draws, { scaleStd }) => {
      const w = draws.normal();
      const factor = 2 ** (w * scaleStd);
      return { matrix: scaling(1 / factor, 1 / factor), label: [w] };
    },
  },
  rotateFrac: {
    kind: 'geometry',
    uniforms: 1,
    normals: 0,
    labels: 2,
    draw: (draws, { rotateFracMax }) => {
      const angle = signed(draws.uniform()) * Math.PI * rotateFracMax;
      return { matrix: rotation(angle), label: [Math.cos(angle) - 1, Math.sin(angle)] };
    },
  },
  aniso: {
    kind: 'geometry',
    uniforms: 2,
    normals: 1,
    labels: 2,
    draw: (draws, { anisoStd, anisoRotateProb }) => {
      const w = draws.normal();
      const [direction, turned] = [draws.uniform(), draws.uniform()];
      const angle = turned < anisoRotateProb ? signed(direction) * Math.PI : 0;
      const factor = 2 ** (w * anisoStd);
      const matrix = multiply(rotation(-angle), multiply(scaling(1 / factor, factor), rotation(angle)));
      return { matrix, label: [w * Math.cos(angle), w * Math.sin(angle)] };
    },
  },
  translateFrac: {
    kind: 'geometry',
    uniforms: 0,
    normals: 2,
    labels: 2,
    draw: (draws, { translateFracStd }, [height, width]) => {
      const [x, y] = [draws.normal(), draws.normal()];
      return { matrix: translation(-x * width * translateFracStd, -y * height * translateFracStd), label: [x, y] };
    },
  },
  brightness: {
    kind: 'colour',
    uniforms: 0,
    normals: 1,
    labels: 1,
    draw: (draws, { brightnessStd }) => {
      const w = draws.normal();
      return { matrix: brighten(w * brightnessStd), label: [w] };
    },
  },
  contrast: {
    kind: 'colour',
    uniforms: 0,
    normals: 1,
    labels: 1,
    draw: (draws, { contrastStd }) => {
      const w = draws.normal();
      return { matrix: scaleColours(2 ** (w * contrastStd)), label: [w] };
    },
  },
  lumaflip: {
    kind: 'colour',
    uniforms: 1,
    normals: 0,
    labels: 1,
    draw: (draws) => {
      const flipped = draws.uniform() >= 0.5;
      return { matrix: flipped ? flipLuma : identity(4), label: [Number(flipped)] };
    },
  },
  hue: {
    kind: 'colour',
    uniforms: 1,
    normals: 0,
    labels: 2,
    draw: (draws, { hueMax }) => {
      const angle = signed(draws.uniform()) * Math.PI * hueMax;
      return { matrix: turnHue(angle), label: [Math.cos(angle) - 1, Math.sin(angle)] };
    },
  },
  saturation: {
    kind: 'colour',
    uniforms: 0,
    normals: 1,
    labels: 1,
    draw: (draws, { saturationStd }) => {
      const w = draws.normal();
      return { matrix: saturate(2 ** (w * saturationStd)), label: [w] };
    },
  },
});

/** The name of a transform. */
export type TransformName = keyof typeof transforms;

/** Every name, in the pipe's order: that of the labels. */
export const transformNames = Object.keys(transforms) as TransformName[];
