/** Images per second of the procedural set on one core: `npx tsx bench/shapes.ts`. */
import { shapes } from '../src/data/shapes.js';

for (const resolution of [16, 32, 64]) {
  const source = shapes({ resolution });
  const { size } = await source.open();
  const batch = 500;
  let images = 0;
  const measure = async (seconds: number): Promise<number> => {
    const begin = performance.now();
    images = 0;
    while (performance.now() - begin < seconds * 1000) {
      await source.read(Uint32Array.from({ length: batch }, (_, k) => (images + k) % size));
      images += batch;
    }
    return (images * 1000) / (performance.now() - begin);
  };
  await measure(0.5);
  console.log(`shapes-${resolution}: ${Math.round(await measure(2)).toLocaleString('en')} images/s`);
}
