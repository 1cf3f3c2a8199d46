import { defineConfig } from 'tsup';

const rooms = ['core', 'models', 'losses', 'data', 'metrics', 'sinks'];

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    cli: 'src/cli.ts',
    // Worker threads are files of their own.
    'data/decode-worker': 'src/data/encoded/decode-worker.ts',
    ...Object.fromEntries(rooms.map((room) => [`${room}/index`, `src/${room}/index.ts`])),
  },
  format: 'esm',
  target: 'node20',
  // tsup leaves dependencies out of the bundle, but not optional ones.
  external: ['sharp'],
  // The names of classes and functions are data: config.json and error messages hold them.
  keepNames: true,
  // The rooms share classes, tokens and registered kernels: each must exist once.
  splitting: true,
  dts: { entry: Object.fromEntries(['index', ...rooms.map((room) => `${room}/index`)].map((name) => [name, `src/${name}.ts`])) },
  sourcemap: true,
  clean: true,
});
