// One update of flat tensors by Adam in one pass: m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
// w = w - rate m / (sqrt(v) + epsilon).
#include <cmath>

#include "fused-ops.h"

namespace onestep {
namespace {

constexpr int64_t kElements = 16384;

struct Attributes {
  bool momentum, divide;
};

void* create(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Attributes{c.flag("has_m"), c.flag("divide")};
}
void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// coefficients: beta1, 1 - beta1, beta2, 1 - beta2, rate, epsilon.
void compute(void* raw, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const Tensor coefficients = call.input(0), w = call.input(1), g = call.input(2), v = call.input(3);
  const Tensor m = attributes.momentum ? call.input(4) : Tensor();
  if (!call.ok()) return;
  const int64_t size = w.size();
  call.expect(coefficients.size() == 6, "OnestepAdam: expected 6 coefficients, got " + describe(coefficients.shape()));
  call.expect(g.size() == size && v.size() == size && (!m.raw || m.size() == size),
              "OnestepAdam: expected gradient and moments of " + std::to_string(size) + " values");
  const Tensor newW = call.output(0, w.shape()), newV = call.output(1, w.shape());
  const Tensor newM = attributes.momentum ? call.output(2, w.shape()) : Tensor();
  if (!call.ok() || size == 0) return;
  const float* k = coefficients.data();
  const float beta1 = k[0], rest1 = k[1], beta2 = k[2], rest2 = k[3], rate = k[4], epsilon = k[5];
  const float *pw = w.data(), *pg = g.data(), *pv = v.data(), *pm = m.raw ? m.data() : nullptr;
  float *qw = newW.data(), *qv = newV.data(), *qm = newM.raw ? newM.data() : nullptr;
  parallelFor((size + kElements - 1) / kElements, size, [&](int64_t task) {
    const int64_t begin = task * kElements, end = begin + kElements < size ? begin + kElements : size;
    for (int64_t i = begin; i < end; i++) qv[i] = pv[i] * beta2 + pg[i] * pg[i] * rest2;
    const float* direction = pg;
    if (pm) {
      for (int64_t i = begin; i < end; i++) qm[i] = pm[i] * beta1 + pg[i] * rest1;
      direction = qm;
    }
    if (attributes.divide) {
      for (int64_t i = begin; i < end; i++) qw[i] = pw[i] - rate * (direction[i] / (std::sqrt(qv[i]) + epsilon));
    } else {
      for (int64_t i = begin; i < end; i++) qw[i] = pw[i] - rate * direction[i];
    }
  });
}

}  // namespace

std::string registerAdam() {
  return registerOperation("OnestepAdam", {"has_m: bool", "divide: bool", "M: int >= 0"},
                           {"coefficients: float", "weights: float", "gradient: float", "v: float", "m: M * float"},
                           {"new_weights: float", "new_v: float", "new_m: M * float"}, create, compute, destroy);
}

}  // namespace onestep
