export { distill, type Distilled, type DistillOptions } from './distill.js';
export { EVALUATOR, type Evaluator } from './evaluator.js';
export { intervalsSchema, runSchema, scheduleSchema, type RunSettings } from './run-options.js';
export type { GeneratedImages } from './numbered-images.js';
export { loadStudent, Student, type GenerateOptions } from './student.js';
export { teacherImages, type TeacherImagesOptions } from './teacher-images.js';
export { trainTeacher, type TrainedTeacher, type TrainTeacherOptions } from './train-teacher.js';
export { stopOnSignals } from './signals.js';
export { dataStatistics, featureStatistics, frechetEvaluator, type FrechetOptions } from './frechet-evaluator.js';
