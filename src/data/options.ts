import type { z } from 'zod';
import { ConfigError } from '../core/errors.js';

/**
 * Checks options against a schema and fills in its defaults.
 *
 * @throws ConfigError that names `where` and lists every problem.
 */
export function parseOptions<S extends z.ZodType>(where: string, schema: S, options: unknown): z.output<S> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  throw new ConfigError(
    where,
    result.error.issues.map((issue) => (issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`)),
  );
}
