export { openBackend } from './open-backend.js';
export type { Backend } from './open-backend.js';
export { backendOptions, ENGINE_NAMES } from './options.js';
export type { BackendOptions, EngineName } from './options.js';
export { doctor } from './doctor.js';
export type { Check, Diagnosis, DoctorOptions } from './doctor.js';
export { setup } from './setup.js';
export type { SetupOptions, SetupResult } from './setup.js';
