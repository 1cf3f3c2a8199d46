// Layer normalization without scale and shift: y = (x - mean) r over the last axis, r = 1 / sqrt(variance + epsilon);
// and its gradient r (dy - mean(dy) - y mean(dy y)). Also the gradient of softmax, y (dy - sum(dy y)): as they go over
// rows in the same way.
#include "fused-ops.h"

#include <cmath>

namespace onestep {
namespace {

constexpr int64_t kRows = 16;

// The sum over [0, C) of term(c, type tag), in double from blocks of floats.
template <class Term> double sumOf(int64_t C, Term term) {
  double sum = 0;
  constexpr int64_t kStep = 32 * width<Float8>;
  int64_t c = 0;
  while (c + width<Float8> <= C) {
    const int64_t end = c + kStep < C ? c + kStep : C;
    Float8 lanes{};
    for (; c + width<Float8> <= end; c += width<Float8>) lanes += term(c, Float8{});
    for (int i = 0; i < width<Float8>; i++) sum += lanes[i];
    if (end == C) break;
  }
  for (; c < C; c++) sum += term(c, 0.0f);
  return sum;
}

template <class Body> void forRows(int64_t rows, int64_t C, Body body) {
  parallelFor((rows + kRows - 1) / kRows, rows * C * 2, [&](int64_t task) {
    const int64_t end = (task + 1) * kRows < rows ? (task + 1) * kRows : rows;
    for (int64_t row = task * kRows; row < end; row++) body(row);
  });
}

void* create(TF_OpKernelConstruction* raw) { return new float(Construction{raw}.number("epsilon")); }
void destroy(void* epsilon) { delete static_cast<float*>(epsilon); }
void* createNone(TF_OpKernelConstruction*) { return nullptr; }
void destroyNone(void*) {}

void computeForward(void* raw, TF_OpKernelContext* context) {
  const float epsilon = *static_cast<float*>(raw);
  Call call(context);
  const Tensor x = call.input(0);
  if (!call.ok()) return;
  const auto shape = x.shape();
  if (!call.expect(!shape.empty() && shape.back() > 0, "OnestepLayerNorm: expected at least one channel, got " + describe(shape))) return;
  auto statistics = shape;
  statistics.back() = 1;
  const Tensor y = call.output(0, shape), rstd = call.output(1, statistics);
  if (!call.ok()) return;
  const int64_t C = shape.back();
  const float* const values = x.data();
  float *normal = y.data(), *reciprocals = rstd.data();
  forRows(x.size() / C, C, [&](int64_t row) {
    const float* const from = values + row * C;
    float* const to = normal + row * C;
    const float mean = static_cast<float>(sumOf(C, [&](int64_t c, auto tag) { return load<decltype(tag)>(from + c); }) / C);
    const double variance = sumOf(C, [&](int64_t c, auto tag) {
      const auto d = load<decltype(tag)>(from + c) - mean;
      return d * d;
    }) / C;
    const float r = static_cast<float>(1 / std::sqrt(variance + epsilon));
    reciprocals[row] = r;
    forChannels(C, [&](int64_t c, auto tag) { store(to + c, (load<decltype(tag)>(from + c) - mean) * r); });
  });
}

// With kSoftmax the gradient of softmax, which has neither r nor the mean of dy.
template <bool kSoftmax> void computeGradient(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor dy = call.input(0), y = call.input(1);
  const Tensor rstd = kSoftmax ? Tensor() : call.input(2);
  if (!call.ok()) return;
  const auto shape = y.shape();
  const int64_t C = shape.empty() || shape.back() == 0 ? 1 : shape.back(), rows = y.size() / C;
  call.expect(dy.shape() == shape && (kSoftmax || rstd.size() == rows),
              "gradient over rows: expected dy of y's shape, got " + describe(dy.shape()) + " and " + describe(shape));
  const Tensor dx = call.output(0, shape);
  if (!call.ok()) return;
  const float *slopes = dy.data(), *outputs = y.data(), *reciprocals = kSoftmax ? nullptr : rstd.data();
  float* const result = dx.data();
  forRows(rows, C, [&](int64_t row) {
    const float *slope = slopes + row * C, *output = outputs + row * C;
    float* const to = result + row * C;
    const double product =
        sumOf(C, [&](int64_t c, auto tag) { return load<decltype(tag)>(slope + c) * load<decltype(tag)>(output + c); });
    if constexpr (kSoftmax) {
      const float sum = static_cast<float>(product);
      forChannels(C, [&](int64_t c, auto tag) {
        store(to + c, load<decltype(tag)>(output + c) * (load<decltype(tag)>(slope + c) - sum));
      });
    } else {
      const float m = static_cast<float>(product / C), r = reciprocals[row];
      const float mean = static_cast<float>(sumOf(C, [&](int64_t c, auto tag) { return load<decltype(tag)>(slope + c); }) / C);
      forChannels(C, [&](int64_t c, auto tag) {
        store(to + c, (load<decltype(tag)>(slope + c) - mean - load<decltype(tag)>(output + c) * m) * r);
      });
    }
  });
}

}  // namespace

std::string registerLayerNorm() {
  std::string problem =
      registerOperation("OnestepLayerNorm", {"epsilon: float"}, {"x: float"}, {"y: float", "rstd: float"}, create, computeForward, destroy);
  if (!problem.empty()) return problem;
  problem = registerOperation("OnestepLayerNormGrad", {}, {"dy: float", "y: float", "rstd: float"}, {"dx: float"}, createNone,
                              computeGradient<false>, destroyNone);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepSoftmaxGrad", {}, {"dy: float", "y: float"}, {"dx: float"}, createNone, computeGradient<true>,
                           destroyNone);
}

}  // namespace onestep
