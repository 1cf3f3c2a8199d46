// Included before the binding's own sources when `onestep setup` compiles them.
//
// TensorFlow's workers spin for a while when they run out of work. A training step is a chain of short operations, so on
// a machine with few cores the spinning workers take the cores from the thread that starts the next operation.
#pragma once
#include "tensorflow/c/eager/c_api.h"

static inline TFE_ContextOptions* OnestepContextOptions() {
  TFE_ContextOptions* options = TFE_NewContextOptions();
  // ConfigProto { experimental { disable_thread_spinning: true } }, fields 16 and 9 of tensorflow/core/protobuf/config.proto.
  static const unsigned char config[] = {0x82, 0x01, 0x02, 0x48, 0x01};
  TF_Status* status = TF_NewStatus();
  TFE_ContextOptionsSetConfig(options, config, sizeof config, status);
  TF_DeleteStatus(status);
  return options;
}

#define TFE_NewContextOptions OnestepContextOptions
