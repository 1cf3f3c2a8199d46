export { PICKLE_LIMITS, PickleBudget, type PickleLimits } from './budget.js';
export { ByteCursor } from './byte-cursor.js';
export { BufferSource, FileSource, SourceSlice, truncated, type ByteSource } from './byte-source.js';
export { NumpyArray, NumpyDtype } from './numpy.js';
export { printable } from './text.js';
export { unpickle, type Unpickled, type UnpickleOptions } from './unpickle.js';
export {
  describeValue,
  isList,
  isTuple,
  PickledBytes,
  PickledDict,
  PickledGlobal,
  PickledObject,
  tuple,
  type ConstructionContext,
  type DataConstructor,
  type PickledTuple,
} from './values.js';
