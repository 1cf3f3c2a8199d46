// Batch normalization by the batch's own statistics with a leaky ReLU behind it, and its gradient (Ioffe & Szegedy 2015):
// over [..., C], z = (x - mean) a + beta with a = gamma / sqrt(variance + epsilon), y = z or slope z where z is negative.
//
// Sums run in float over at most kBlock rows and in double over blocks; the variance is that of deviations from the mean.
#include <cmath>

#include "fused-ops.h"

namespace onestep {
namespace {

// Rows, that is pixels, which one task works on. A constant: sums do not depend on the number of threads.
constexpr int64_t kRows = 512;

struct Attributes {
  float epsilon, slope;
};

void* create(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Attributes{c.number("epsilon"), c.number("slope")};
}
void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// Calls body(first row, end, sums of the task) for blocks of rows, then adds up the tasks' `count` sums a channel.
template <class Body> std::vector<double> sumOverRows(int64_t rows, int64_t C, int count, Body body) {
  const int64_t tasks = (rows + kRows - 1) / kRows;
  std::vector<double> parts(tasks * count * C, 0.0), sums(count * C, 0.0);
  parallelFor(tasks, rows * C, [&](int64_t task) {
    const int64_t end = (task + 1) * kRows < rows ? (task + 1) * kRows : rows;
    forBlocks(task * kRows, end, [&](int64_t first, int64_t last) { body(first, last, parts.data() + task * count * C); });
  });
  for (int64_t task = 0; task < tasks; task++)
    for (int64_t i = 0; i < count * C; i++) sums[i] += parts[task * count * C + i];
  return sums;
}

template <class Body> void overRows(int64_t rows, int64_t C, Body body) {
  parallelFor((rows + kRows - 1) / kRows, rows * C, [&](int64_t task) {
    const int64_t end = (task + 1) * kRows < rows ? (task + 1) * kRows : rows;
    forBlocks(task * kRows, end, body);
  });
}

bool expectChannels(Call& call, const char* name, const Tensor& x, std::initializer_list<const Tensor*> vectors) {
  const auto shape = x.shape();
  for (const Tensor* vector : vectors)
    call.expect(!shape.empty() && vector->size() == shape.back(), std::string(name) + ": expected a value a channel of x " + describe(shape) +
                                                                      ", got " + describe(vector->shape()));
  return call.ok();
}

void compute(void* raw, TF_OpKernelContext* context) {
  const Attributes attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const Tensor x = call.input(0), gamma = call.input(1), beta = call.input(2);
  if (!call.ok() || !expectChannels(call, "OnestepBatchNorm", x, {&gamma, &beta})) return;
  const int64_t C = gamma.size(), rows = C == 0 ? 0 : x.size() / C;
  const Tensor y = call.output(0, x.shape()), mean = call.output(1, {C}), variance = call.output(2, {C});
  if (!call.ok()) return;
  const float* const from = x.data();
  std::vector<float> scratch(C);
  float* const a = scratch.data();

  const auto sums = sumOverRows(rows, C, 1, [&](int64_t first, int64_t last, double* part) {
    forChannels(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      V sum{};
      for (int64_t i = first * C + c; i < last * C; i += C) sum += load<V>(from + i);
      addTo<V>(part + c, sum);
    });
  });
  for (int64_t c = 0; c < C; c++) mean.data()[c] = static_cast<float>(sums[c] / rows);
  const float* const centre = mean.data();
  const auto squares = sumOverRows(rows, C, 1, [&](int64_t first, int64_t last, double* part) {
    forChannels(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c);
      V sum{};
      for (int64_t i = first * C + c; i < last * C; i += C) {
        const V d = load<V>(from + i) - middle;
        sum += d * d;
      }
      addTo<V>(part + c, sum);
    });
  });
  for (int64_t c = 0; c < C; c++) {
    variance.data()[c] = static_cast<float>(squares[c] / rows);
    a[c] = static_cast<float>(gamma.data()[c] / std::sqrt(squares[c] / rows + attributes.epsilon));
  }
  const float* const shift = beta.data();
  float* const to = y.data();
  overRows(rows, C, [&](int64_t first, int64_t last) {
    forChannels(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c), factor = load<V>(a + c), constant = load<V>(shift + c), zero = V{};
      for (int64_t i = first * C + c; i < last * C; i += C) {
        const V z = (load<V>(from + i) - middle) * factor + constant;
        store<V>(to + i, z > zero ? z : z * attributes.slope);
      }
    });
  });
}

void computeGradient(void* raw, TF_OpKernelContext* context) {
  const Attributes attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const Tensor dy = call.input(0), x = call.input(1), gamma = call.input(2), beta = call.input(3), mean = call.input(4),
               variance = call.input(5);
  if (!call.ok() || !expectChannels(call, "OnestepBatchNormGrad", x, {&gamma, &beta, &mean, &variance})) return;
  if (!call.expect(dy.shape() == x.shape(), "OnestepBatchNormGrad: expected dy of x's shape, got " + describe(dy.shape()))) return;
  const int64_t C = gamma.size(), rows = C == 0 ? 0 : x.size() / C;
  const Tensor dx = call.output(0, x.shape()), dgamma = call.output(1, {C}), dbeta = call.output(2, {C});
  if (!call.ok()) return;
  std::vector<float> scratch(4 * C);
  float *rstd = scratch.data(), *a = rstd + C, *m1 = a + C, *m2 = m1 + C;
  for (int64_t c = 0; c < C; c++) {
    rstd[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance.data()[c]) + attributes.epsilon));
    a[c] = gamma.data()[c] * rstd[c];
  }
  const float *from = x.data(), *slope = dy.data(), *centre = mean.data(), *shift = beta.data();

  // dz, and the normalized x, of the channels at place i.
  const auto at = [&](int64_t i, auto middle, auto scale, auto factor, auto constant, auto& normal) {
    using V = decltype(middle);
    const V centred = load<V>(from + i) - middle, d = load<V>(slope + i);
    normal = centred * scale;
    return centred * factor + constant > V{} ? d : d * attributes.slope;
  };
  const auto sums = sumOverRows(rows, C, 2, [&](int64_t first, int64_t last, double* part) {
    forChannels(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c), scale = load<V>(rstd + c), factor = load<V>(a + c), constant = load<V>(shift + c);
      V s1{}, s2{}, normal;
      for (int64_t i = first * C + c; i < last * C; i += C) {
        const V dz = at(i, middle, scale, factor, constant, normal);
        s1 += dz;
        s2 += dz * normal;
      }
      addTo<V>(part + c, s1);
      addTo<V>(part + C + c, s2);
    });
  });
  for (int64_t c = 0; c < C; c++) {
    dbeta.data()[c] = static_cast<float>(sums[c]);
    dgamma.data()[c] = static_cast<float>(sums[C + c]);
    m1[c] = static_cast<float>(sums[c] / rows);
    m2[c] = static_cast<float>(sums[C + c] / rows);
  }
  float* const to = dx.data();
  overRows(rows, C, [&](int64_t first, int64_t last) {
    forChannels(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c), scale = load<V>(rstd + c), factor = load<V>(a + c), constant = load<V>(shift + c);
      const V mean1 = load<V>(m1 + c), mean2 = load<V>(m2 + c);
      V normal;
      for (int64_t i = first * C + c; i < last * C; i += C) {
        const V dz = at(i, middle, scale, factor, constant, normal);
        store<V>(to + i, factor * (dz - mean1 - normal * mean2));
      }
    });
  });
}

}  // namespace

std::string registerBatchNorm() {
  const std::vector<const char*> attributes = {"epsilon: float", "slope: float"};
  const std::string problem = registerOperation("OnestepBatchNorm", attributes, {"x: float", "gamma: float", "beta: float"},
                                                {"y: float", "mean: float", "variance: float"}, create, compute, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepBatchNormGrad", attributes,
                           {"dy: float", "x: float", "gamma: float", "beta: float", "mean: float", "variance: float"},
                           {"dx: float", "dgamma: float", "dbeta: float"}, create, computeGradient, destroy);
}

}  // namespace onestep
