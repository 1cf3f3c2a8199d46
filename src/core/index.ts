/**
 * onestep/core: contracts, errors, randomness, optimizers, averages, checkpoints and files.
 */
export type * from './contracts/index.js';
export type * from './contracts/metric.js';
export type * from './contracts/optimizer.js';
export {
  ArgumentError,
  ConfigError,
  DownloadError,
  EngineError,
  FileError,
  OnestepError,
  RunError,
  WeightsError,
  type ErrorDetails,
} from './errors.js';
export { NamedTensor, Parameter, type ParameterOptions, type TensorLayout } from './parameter.js';
export { describeIssues, parseOptions } from './options.js';
export { PhiloxRandom, normalAt } from './random.js';
export { Adam, RAdam, lazyRegularization, type AdamOptions } from './optimizer.js';
export { Ema, emaDecay, type EmaOptions } from './ema.js';
export { writeDirectoryAtomic, writeFileAtomic, type FileContent } from './files.js';
export { parseSafetensors, readSafetensors, writeSafetensors, type TensorToWrite } from './safetensors.js';
export { openSafetensors } from './safetensors-index.js';
export type { TensorData, TensorDtype, TensorEntry, TensorFile } from './tensor-file.js';
export {
  BufferSource,
  describeValue,
  FileSource,
  isList,
  isTuple,
  NumpyArray,
  NumpyDtype,
  PICKLE_LIMITS,
  PickleBudget,
  PickledBytes,
  PickledDict,
  PickledGlobal,
  PickledObject,
  unpickle,
  type ByteSource,
  type ConstructionContext,
  type DataConstructor,
  type PickledTuple,
  type PickleLimits,
  type Unpickled,
  type UnpickleOptions,
} from './pickle/index.js';
export {
  moduleState,
  openTorchFile,
  PersistentObject,
  stateDict,
  TorchTensor,
  type TorchFile,
  type TorchStorage,
} from './torch-file/index.js';
export {
  listCheckpoints,
  loadCheckpoint,
  saveCheckpoint,
  verifyCheckpoint,
  type Checkpoint,
  type CheckpointList,
  type CheckpointPartToSave,
} from './checkpoint.js';
export { RunDirectory, type RunDirectoryOptions } from './run-directory.js';
export * from './backend/index.js';
export {
  affineSample,
  defineKernel,
  gradients,
  groupNorm,
  installAutodiff,
  leakyRelu,
  silu,
  stopGradient,
  valueAndGradients,
  vectorJacobianProduct,
  zeroLike,
  type Forward as KernelForward,
  type ForwardContext,
  type GradientContext,
  type GradientOptions,
  type GroupNormOptions,
  type KernelDefinition,
  type KernelInputs,
  type ValueAndGradients,
} from './autodiff/index.js';
export { MemoryMeter, withShapeEngine } from './shape-engine/index.js';
export * from './container.js';
export { accumulate } from './accumulate.js';
export { networkState } from './network-state.js';
export {
  startTrainingRun,
  type BestKeeper,
  type CursorBatch,
  type RunIntervals,
  type RunOptions,
  type RunStore,
  type TrainingRun,
  type TrainingSetup,
} from './training-run.js';
export {
  consoleDownload,
  downloadFile,
  resolveReference,
  type DownloadOptions,
  type DownloadProgress,
  type DownloadStream,
  type FileFormat,
  type PublishedFile,
  type ResolveReferenceOptions,
} from './download/index.js';
export { resamplingWeights, resizeImage, type ImageBytes, type ResamplingFilter, type ResamplingWeights } from './pillow/index.js';
