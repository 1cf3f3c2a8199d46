// The exact GELU, x Phi(x) with Phi the standard normal distribution (Hendrycks & Gimpel 2016), and its gradient
// dy (Phi(x) + x phi(x)).
#include "fused-ops.h"

namespace onestep {
namespace {

constexpr int64_t kValues = 16384;

// Phi(x) and exp(-x^2 / 2), which both orders need. erfc by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
template <class V> struct Normal {
  V distribution, exponential;
  explicit Normal(V x) {
    const V zero = V{}, size = x < zero ? -x : x;
    exponential = onestep::exponential<V>(size * size * -0.5f);
    const V t = 1.0f / (1.0f + size * 0.231641888f);  // 0.3275911 / sqrt(2)
    V p = t * 1.061405429f + -1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t + -0.284496736f;
    p = p * t + 0.254829592f;
    const V tail = p * t * exponential * 0.5f;
    distribution = x < zero ? tail : 1.0f - tail;
  }
};

template <class Body> void forValues(int64_t size, Body body) {
  parallelFor((size + kValues - 1) / kValues, size * 8, [&](int64_t task) {
    const int64_t end = (task + 1) * kValues < size ? (task + 1) * kValues : size;
    int64_t i = task * kValues;
    for (; i + width<Float8> <= end; i += width<Float8>) body(i, Float8{});
    for (; i < end; i++) body(i, 0.0f);
  });
}

void computeForward(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor x = call.input(0);
  if (!call.ok()) return;
  const Tensor y = call.output(0, x.shape());
  if (!call.ok()) return;
  const float* const from = x.data();
  float* const to = y.data();
  forValues(x.size(), [&](int64_t i, auto tag) {
    using V = decltype(tag);
    const V value = load<V>(from + i);
    store<V>(to + i, value * Normal<V>(value).distribution);
  });
}

void computeGradient(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor dy = call.input(0), x = call.input(1);
  if (!call.ok()) return;
  call.expect(dy.shape() == x.shape(), "OnestepGeluGrad: expected dy of x's shape, got " + describe(dy.shape()) + " and " + describe(x.shape()));
  const Tensor dx = call.output(0, x.shape());
  if (!call.ok()) return;
  const float *from = x.data(), *slope = dy.data();
  float* const to = dx.data();
  forValues(x.size(), [&](int64_t i, auto tag) {
    using V = decltype(tag);
    const V value = load<V>(from + i);
    const Normal<V> normal(value);
    // phi(x) = exp(-x^2 / 2) / sqrt(2 pi)
    store<V>(to + i, load<V>(slope + i) * (normal.distribution + value * normal.exponential * 0.3989422804f));
  });
}

void* create(TF_OpKernelConstruction*) { return nullptr; }
void destroy(void*) {}

}  // namespace

std::string registerGelu() {
  const std::string problem = registerOperation("OnestepGelu", {}, {"x: float"}, {"y: float"}, create, computeForward, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepGeluGrad", {}, {"dy: float", "x: float"}, {"dx: float"}, create, computeGradient, destroy);
}

}  // namespace onestep
