export { AdaptiveAugmentation, adaptiveAugmentation, type AdaptiveAugmentationOptions } from './augmentation/adaptive-augmentation.js';
export {
  adaTransforms,
  AugmentationPipe,
  augmentationPipe,
  edmTransforms,
  type AugmentationPipeOptions,
} from './augmentation/augmentation-pipe.js';
export { DiffAugment, diffAugment, type DiffAugmentOptions } from './augmentation/diff-augment.js';
export { transformNames, type TransformName } from './augmentation/transforms.js';
export type {
  Backbone,
  BackboneConfig,
  BackboneInputs,
  DdpmScheduler,
  DdpmUNetConfig,
  DhariwalUNetConfig,
  EncoderStage,
  SongUNetConfig,
} from './backbones/backbone.js';
export {
  backboneConfigSchema,
  createBackbone,
  publishedBackbones,
  resolveBackboneConfig,
  type BackboneOptions,
} from './backbones/config.js';
export { DdpmSchedule, type DdpmCoefficients, type DdpmLevel } from './backbones/ddpm-schedule.js';
export { DdpmUNet } from './backbones/ddpm-unet.js';
export { DhariwalUNet } from './backbones/dhariwal-unet.js';
export { SongUNet } from './backbones/song-unet.js';
export { UNetBlock, type BlockPart, type UNetBlockOptions } from './backbones/unet-block.js';
export { encoderDiscriminator, EncoderDiscriminator, type EncoderDiscriminatorOptions } from './discriminators/encoder-discriminator.js';
export {
  classifierEmbeddings,
  embeddingsFrom,
  randomEmbeddings,
  type ClassEmbeddings,
  type ClassifierEmbeddingsOptions,
  type EmbeddingsFromOptions,
} from './discriminators/class-embeddings.js';
export { ClassProjection, type ClassCondition } from './discriminators/class-projection.js';
export { ConditionalHead } from './discriminators/conditional-head.js';
export { FeatureDiscriminator, type FeatureDiscriminatorOptions } from './discriminators/feature-discriminator.js';
export { DiscriminatorHead, headWidths, type HeadOptions } from './discriminators/head.js';
export { projected, ProjectedDiscriminator, type ProjectedOptions } from './discriminators/projected-discriminator.js';
export { RandomProjection, type RandomProjectionOptions } from './discriminators/random-projection.js';
export { clipVitB32, type ClipVitB32Options } from './extractors/clip-vit-b32.js';
export { dinov2VitL14, type Dinov2VitL14Options } from './extractors/dinov2-vit-l14.js';
export { InceptionNetwork } from './extractors/inception-network.js';
export { inceptionV3, type InceptionV3Options } from './extractors/inception-v3.js';
export type { PretrainedExtractor } from './extractors/network-extractor.js';
export { VisionTransformer, type VisionTransformerConfig } from './extractors/vision-transformer.js';
export { ClassifierFeatures, classifierFeatures, type ClassifierFeaturesOptions } from './features/classifier-features.js';
export { Deit, type DeitOptions, type DeitVariant } from './features/deit.js';
export { EfficientNetLite, type EfficientNetLiteOptions, type EfficientNetLiteVariant } from './features/efficientnet-lite.js';
export { Vgg16Bn, type Vgg16BnOptions } from './features/vgg16-bn.js';
export {
  deit,
  efficientnetLite,
  efficientnetLite0,
  vgg16bn,
  type DeitLoaderOptions,
  type FeatureLoaderOptions,
} from './features/feature-loaders.js';
export { openFeatureWeights, publishedFeatures, type FeatureWeightsOptions } from './features/feature-weights.js';
export { FEATURE_SIZE, IMAGENET, prepareImages, PretrainedFeatures } from './features/pretrained-features.js';
export { ProjectedFeatures, type FeatureNetworkSource, type ProjectedFeaturesOptions } from './features/projected-features.js';
export { TokenReadout } from './features/token-readout.js';
export { ImageClassifier, loadImageClassifier, type ImageClassifierConfig } from './features/image-classifier.js';
export {
  groupBounds,
  type FeatureInput,
  type FeatureNetwork,
  type FeatureNetworkLoader,
  type FeatureStage,
} from './features/feature-network.js';
export { TeacherEncoder, type TeacherEncoderOptions } from './features/teacher-encoder.js';
export { freezeConvolutions, freezeNothing, freezeWhere, trainOnly } from './freeze/policies.js';
export { applyFreezePolicy, formatFreezeSummary, summarizeFreeze, type FreezeSummary } from './freeze/summary.js';
export { BatchNorm2d } from './nn/batch-norm.js';
export {
  Conv2d,
  fourierEmbedding,
  GroupNorm,
  Linear,
  positionalEmbedding,
  type Conv2dOptions,
  type LayerInitialization,
  type NormOptions,
  type Place,
} from './nn/layers.js';
export { constant, kaimingUniform, normal, ones, pytorchDefault, uniform, xavierUniform, zeros } from './nn/initializers.js';
export { weightsOf } from './nn/weights.js';
export { Module, type Initializer, type WeightSource } from './nn/module.js';
export { observeActivations, type Activation, type ActivationObserver, type LayerOutput, type ResidualSum } from './nn/observe.js';
export { bilinearMatrix, resample2d, resampleMatrix, resizeBilinear, type ResizeOptions } from './nn/resample.js';
export { SpectralNormConv2d, type SpectralConvOptions } from './nn/spectral-norm.js';
export {
  denoise,
  edmPreconditioning,
  gddPreconditioning,
  generateOneStep,
  SIGMA_MAX,
  SIGMA_MIN,
  type Coefficients,
  type Preconditioning,
  type Sigmas,
} from './preconditioning.js';
export { edmSigmas, sampleFewSteps, sampleHeun, type EdmSchedule, type FewStepOptions, type SamplerOptions } from './samplers/edm.js';
export type { DiffusersTeacherOptions } from './teachers/diffusers-config.js';
export { diffusersTeacher } from './teachers/diffusers-teacher.js';
export { inferBackboneConfig, type TensorShapes } from './teachers/infer.js';
export {
  publishedTeachers,
  publishedTeacherSize,
  resolveFile,
  type PublishedTeacher,
  type PublishedTeacherName,
  type ResolveFileOptions,
} from './teachers/published-teachers.js';
export { safetensorsTeacher, saveBackbone, type SafetensorsTeacherOptions } from './teachers/safetensors-teacher.js';
export { teacher, type TeacherOptions } from './teachers/any-teacher.js';
export { edmSnapshot, type EdmSnapshotOptions } from './teachers/edm-snapshot.js';
export { stateDictTeacher, type StateDictTeacherOptions } from './teachers/state-dict-teacher.js';
export type { Container, Probe } from './teachers/probe.js';
export { fileTeacher, type FileTeacherLoader, type TeacherFile } from './teachers/teacher-file.js';
export { TEACHER, TEACHER_LOADER, type Teacher, type TeacherLoader } from './teachers/teacher.js';
