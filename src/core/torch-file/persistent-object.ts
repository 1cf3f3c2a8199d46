import { describeValue, type ConstructionContext, type DataConstructor } from '../pickle/index.js';

/**
 * An object of an EDM snapshot (`torch_utils.persistence`): the name of its class and its attributes.
 * The file holds the source text of its module too; it is kept as text and never looked at.
 */
export class PersistentObject {
  constructor(
    /** As `EDMPrecond`, `SongUNet`. */
    readonly className: string,
    /** By attribute: `_parameters`, `_buffers`, `_modules`, `_init_args`, `_init_kwargs` and others. */
    readonly state: ReadonlyMap<unknown, unknown>,
    readonly moduleSource?: string,
  ) {}
}

/** `torch_utils.persistence._reconstruct_persistent_obj(meta)`. */
export const reconstructPersistentObject: DataConstructor = {
  call(args, context: ConstructionContext) {
    const [meta] = args;
    if (args.length !== 1 || !(meta instanceof Map))
      throw context.fail(`expected a dict that describes a persistent object, found ${describeValue(meta)}`);
    const [className, state, source] = ['class_name', 'state', 'module_src'].map((key): unknown => meta.get(key));
    if (meta.get('type') !== 'class' || typeof className !== 'string')
      throw context.fail(`expected a persistent object of a class, found type ${describeValue(meta.get('type'))}`);
    if (state !== null && state !== undefined && !(state instanceof Map))
      throw context.fail(`expected the state of a persistent ${className} as a dict, found ${describeValue(state)}`);
    return new PersistentObject(className, state ?? new Map<unknown, unknown>(), typeof source === 'string' ? source : undefined);
  },
};
