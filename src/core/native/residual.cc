// y = (a + b + bias) * scale over [..., C], and the gradient that passes from y: dy scale, and its sum over everything
// but the channels. And a + b alone, for gradients that meet.
#include <algorithm>

#include "fused-ops.h"

namespace onestep {
namespace {

// Rows, that is pixels, which one task works on. A constant: sums do not depend on the number of threads.
constexpr int64_t kRows = 512;

void* create(TF_OpKernelConstruction* raw) { return new float(Construction{raw}.number("scale")); }
void destroy(void* scale) { delete static_cast<float*>(scale); }

void compute(void* raw, TF_OpKernelContext* context) {
  const float scale = *static_cast<float*>(raw);
  Call call(context);
  const Tensor a = call.input(0), b = call.input(1), bias = call.input(2);
  if (!call.ok()) return;
  const auto shape = a.shape();
  const int64_t C = bias.size();
  call.expect(b.shape() == shape, "OnestepResidual: expected a and b of one shape, got " + describe(shape) + " and " + describe(b.shape()));
  call.expect(!shape.empty() && shape.back() == C,
              "OnestepResidual: expected a bias of " + describe(shape) + "'s last dimension, got " + describe(bias.shape()));
  const Tensor y = call.output(0, shape);
  if (!call.ok() || a.size() == 0) return;
  const int64_t rows = a.size() / C;
  const float *pa = a.data(), *pb = b.data(), *pc = bias.data();
  float* const py = y.data();
  parallelFor((rows + kRows - 1) / kRows, a.size(), [&](int64_t task) {
    const int64_t end = (task + 1) * kRows < rows ? (task + 1) * kRows : rows;
    // In the order of memory: what lies beyond the caches comes by streams.
    for (int64_t row = task * kRows; row < end; row++)
      forLines(C, [=](int64_t c, auto tag) {
        using V = decltype(tag);
        const int64_t i = row * C + c;
        store<V>(py + i, (load<V>(pa + i) + load<V>(pb + i) + load<V>(pc + c)) * scale);
      });
  });
}

void computeSum(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor a = call.input(0), b = call.input(1);
  if (!call.ok()) return;
  call.expect(a.shape() == b.shape(), "OnestepAdd: expected a and b of one shape, got " + describe(a.shape()) + " and " + describe(b.shape()));
  const Tensor y = call.output(0, a.shape());
  if (!call.ok()) return;
  constexpr int64_t kTask = 16384;
  const int64_t size = a.size();
  const float *pa = a.data(), *pb = b.data();
  float* const py = y.data();
  parallelFor((size + kTask - 1) / kTask, size, [=](int64_t task) {
    const int64_t first = task * kTask, last = std::min(size, first + kTask);
    forLines(last - first, [=](int64_t i, auto tag) {
      using V = decltype(tag);
      store<V>(py + first + i, load<V>(pa + first + i) + load<V>(pb + first + i));
    });
  });
}

void computeGradient(void* raw, TF_OpKernelContext* context) {
  const float scale = *static_cast<float*>(raw);
  Call call(context);
  const Tensor dy = call.input(0);
  if (!call.ok()) return;
  const auto shape = dy.shape();
  if (!call.expect(!shape.empty(), "OnestepResidualGrad: expected dy of at least one dimension")) return;
  const int64_t C = shape.back();
  const Tensor d = call.output(0, shape), bias = call.output(1, {C});
  if (!call.ok()) return;
  const int64_t rows = C == 0 ? 0 : dy.size() / C, tasks = (rows + kRows - 1) / kRows;
  std::vector<double> sums(tasks * C, 0.0);
  const float* const from = dy.data();
  float* const to = d.data();
  parallelFor(tasks, dy.size(), [&](int64_t task) {
    const int64_t end = (task + 1) * kRows < rows ? (task + 1) * kRows : rows;
    thread_local std::vector<float> kept;
    forBlocks(task * kRows, end, [&](int64_t first, int64_t last) {
      kept.assign(C, 0.0f);
      float* const sum = kept.data();
      for (int64_t row = first; row < last; row++)
        forLines(C, [=](int64_t c, auto tag) {
          using V = decltype(tag);
          const V scaled = load<V>(from + row * C + c) * scale;
          store<V>(to + row * C + c, scaled);
          store<V>(sum + c, load<V>(sum + c) + scaled);
        });
      for (int64_t c = 0; c < C; c++) sums[task * C + c] += sum[c];
    });
  });
  for (int64_t c = 0; c < C; c++) {
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += sums[task * C + c];
    bias.data()[c] = static_cast<float>(sum);
  }
}

}  // namespace

std::string registerResidual() {
  std::string problem = registerOperation("OnestepAdd", {}, {"a: float", "b: float"}, {"y: float"}, nullptr, computeSum, nullptr);
  if (!problem.empty()) return problem;
  problem = registerOperation("OnestepResidual", {"scale: float"}, {"a: float", "b: float", "bias: float"},
                                                {"y: float"}, create, compute, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepResidualGrad", {"scale: float"}, {"dy: float"}, {"d: float", "dbias: float"}, create,
                           computeGradient, destroy);
}

}  // namespace onestep
