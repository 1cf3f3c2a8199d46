// Moving averages of several tensors in one pass: scale v + (former - scale v) keep.
#include "fused-ops.h"

namespace onestep {
namespace {

constexpr int64_t kElements = 16384;

void* create(TF_OpKernelConstruction* raw) { return new int64_t(Construction{raw}.integer("N")); }
void destroy(void* count) { delete static_cast<int64_t*>(count); }

// coefficients: keep, then the scale of each value.
void compute(void* raw, TF_OpKernelContext* context) {
  const int64_t count = *static_cast<int64_t*>(raw);
  Call call(context);
  const Tensor coefficients = call.input(0);
  if (!call.ok()) return;
  call.expect(coefficients.size() == count + 1, "OnestepMovingAverage: expected " + std::to_string(count + 1) + " coefficients, got " +
                                                    describe(coefficients.shape()));
  for (int64_t n = 0; n < count && call.ok(); n++) {
    const Tensor former = call.input(static_cast<int>(1 + n)), value = call.input(static_cast<int>(1 + count + n));
    if (!call.ok()) return;
    call.expect(former.shape() == value.shape(), "OnestepMovingAverage: expected averages and values of one shape, got " +
                                                     describe(former.shape()) + " and " + describe(value.shape()));
    const Tensor average = call.output(static_cast<int>(n), value.shape());
    if (!call.ok()) return;
    const int64_t size = value.size();
    const float keep = coefficients.data()[0], scale = coefficients.data()[1 + n];
    const float *pf = former.data(), *pv = value.data();
    float* const to = average.data();
    parallelFor((size + kElements - 1) / kElements, size, [&](int64_t task) {
      const int64_t end = (task + 1) * kElements < size ? (task + 1) * kElements : size;
      for (int64_t i = task * kElements; i < end; i++) {
        const float v = scale * pv[i];
        to[i] = v + (pf[i] - v) * keep;
      }
    });
  }
}

}  // namespace

std::string registerMovingAverage() {
  return registerOperation("OnestepMovingAverage", {"N: int >= 0"}, {"coefficients: float", "former: N * float", "values: N * float"},
                           {"averages: N * float"}, create, compute, destroy);
}

}  // namespace onestep
