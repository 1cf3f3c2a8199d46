/**
 * Options are strict zod schemas: defaults live there, and every problem is reported at once.
 */
import type { z } from 'zod';
import { ConfigError } from './errors.js';

/** Parses `options`, fills in defaults; throws `E_CONFIG` that lists every problem, with the path of each. */
export function parseOptions<S extends z.ZodType>(schema: S, options: z.input<S>, where: string): z.output<S> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  throw new ConfigError(where, describeIssues(parsed.error));
}

/** One line an issue: `path: message`. */
export function describeIssues(error: z.ZodError): string[] {
  return error.issues.map((issue) => `${issue.path.map(String).join('.') || '(options)'}: ${issue.message}`);
}
