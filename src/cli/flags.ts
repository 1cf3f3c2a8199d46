/** A flag as a whole number; anything else is left as it is for the schema to name. */
export const count = (value: unknown) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value) as number;

/** A flag as a list, by commas. */
export const list = (value: unknown): string[] =>
  String(value)
    .split(',')
    .map((item) => item.trim());
