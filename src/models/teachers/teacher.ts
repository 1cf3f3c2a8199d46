/**
 * Teachers: pretrained diffusion networks, however they are stored.
 */
import type { InjectionToken } from 'tsyringe';
import type { Backbone, BackboneConfig } from '../backbones/backbone.js';

/** A loaded teacher. The caller disposes `backbone`. */
export interface Teacher {
  /** For reports: a file name or a published name. */
  name: string;
  backbone: Backbone;
}

/** Knows where a teacher is and how to read it. */
export interface TeacherLoader {
  readonly name: string;
  /** What it was made with, for config.json. */
  readonly description?: { readonly part: string; readonly options: unknown };
  /** The architecture alone, without reading the values. */
  describe(): Promise<BackboneConfig>;
  load(): Promise<Teacher>;
}

/** The run's teacher, loaded. */
export const TEACHER: InjectionToken<Teacher> = Symbol.for('onestep/teacher');

/** Brings the run's teacher. */
export const TEACHER_LOADER: InjectionToken<TeacherLoader> = Symbol.for('onestep/teacher-loader');
