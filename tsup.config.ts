import { defineConfig } from 'tsup';

const rooms = ['core', 'models', 'losses', 'data', 'metrics', 'sinks'];

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    cli: 'src/cli.ts',
    ...Object.fromEntries(rooms.map((room) => [`${room}/index`, `src/${room}/index.ts`])),
  },
  format: 'esm',
  target: 'node20',
  dts: true,
  splitting: true,
  sourcemap: true,
  clean: true,
});
