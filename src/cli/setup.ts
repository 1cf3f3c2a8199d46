import { constants } from 'node:os';
import { setup } from '../core/backend/setup.js';
import type { Command } from './command.js';

export const setupCommand: Command = {
  help: `usage: onestep setup [--require] [--force] [--stock]

Makes the native TensorFlow binding work: downloads TensorFlow's library with pip (274 MB; 1.1 GB on disk), compiles the
binding and keeps both in a cache (ONESTEP_CACHE, else ~/.cache/onestep). Takes half a minute the first time, a second later.
Where something is missing it says what, and the engine will be wasm.

  --require   exit code 1 where TensorFlow does not work in the end
  --force     sets up anew even where the present binding works
  --stock     tries the binding package's own installer first (TensorFlow 2.9.1); so does ONESTEP_STOCK_BINDING=1

Does nothing where ONESTEP_ENGINE names another engine, unless --require or --force is given.
exit code: 0, or 130 where it was interrupted: the next one goes on from there`,
  options: { require: { type: 'boolean' }, force: { type: 'boolean' }, stock: { type: 'boolean' } },
  async run(values) {
    const insists = values['require'] === true || values['force'] === true;
    const named = process.env['ONESTEP_ENGINE'];
    if (!insists && (named === 'wasm' || named === 'cpu')) {
      console.log(`ONESTEP_ENGINE is ${named}: TensorFlow is not set up`);
      return 0;
    }
    const interruption = new AbortController();
    let received: 'SIGINT' | 'SIGTERM' | undefined;
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.once(name, () => {
        received = name;
        interruption.abort(new Error('interrupted'));
      });
    }
    try {
      const result = await setup({
        force: values['force'] === true,
        stock: values['stock'] === true || process.env['ONESTEP_STOCK_BINDING'] === '1',
        signal: interruption.signal,
      });
      return result.works || values['require'] !== true ? 0 : 1;
    } catch (error) {
      if (received === undefined) throw error;
      console.error('interrupted: the next set-up goes on from here');
      return 128 + constants.signals[received];
    }
  },
};
