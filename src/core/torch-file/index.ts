export { openTorchFile, readTorchFile, type TorchFile } from './open-torch-file.js';
export { PersistentObject } from './persistent-object.js';
export { moduleState, stateDict } from './state-dict.js';
export { TorchStorage } from './torch-storage.js';
export { TorchTensor } from './torch-tensor.js';
