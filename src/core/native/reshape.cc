// A tensor under another shape, sharing its values. TensorFlow's own takes the shape as a tensor, which costs a second
// operation, an upload and a release each time.
#include "fused-ops.h"

namespace onestep {
namespace {

struct Target {
  std::vector<int64_t> shape;
  int64_t size = 1;
};

void* create(TF_OpKernelConstruction* raw) {
  auto* const target = new Target{Construction{raw}.integers("shape")};
  for (int64_t length : target->shape) target->size *= length;
  return target;
}
void destroy(void* target) { delete static_cast<Target*>(target); }

void compute(void* raw, TF_OpKernelContext* context) {
  const auto& [shape, size] = *static_cast<Target*>(raw);
  Call call(context);
  const Tensor x = call.input(0);
  if (!call.ok() || !call.expect(x.size() == size, "OnestepReshape: expected " + describe(shape) + ", got " + describe(x.shape()))) return;
  Tensor y;
  const int64_t none = 0;
  y.raw = TF_AllocateTensor(TF_FLOAT, &none, 1, 0);
  Status status;
  TF_TensorBitcastFrom(x.raw, TF_FLOAT, y.raw, shape.data(), static_cast<int>(shape.size()), status.raw);
  if (call.expect(status.ok(), TF_Message(status.raw))) TF_SetOutput(context, 0, y.raw, status.raw);
  call.expect(status.ok(), TF_Message(status.raw));
}

}  // namespace

std::string registerReshape() {
  return registerOperation("OnestepReshape", {"shape: list(int)"}, {"x: float"}, {"y: float"}, create, compute, destroy);
}

}  // namespace onestep
