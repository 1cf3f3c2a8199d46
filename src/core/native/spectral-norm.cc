// A weight divided by an estimate of its largest singular value, after one power iteration, and its gradient (Miyato et al.
// 2018). The weight is seen as a matrix W [rows, C] with C its last dimension: v = W u / |W u|, u = W' v / |W' v|,
// sigma = v' W u, y = W / sigma; u and v are constants to the gradient.
#include <cmath>

#include "fused-ops.h"

namespace onestep {
namespace {

// Elements that one task works on. A constant: sums do not depend on the number of threads.
constexpr int64_t kElements = 16384;
constexpr double kLeast = 1e-12;

void* create(TF_OpKernelConstruction*) { return nullptr; }
void destroy(void*) {}

struct Rows {
  int64_t rows, columns, perTask, tasks;
  Rows(int64_t size, int64_t c) : rows(c == 0 ? 0 : size / c), columns(c) {
    perTask = c == 0 || kElements < c ? 1 : kElements / c;
    tasks = (rows + perTask - 1) / perTask;
  }
  template <class Body> void each(Body body) const {
    // What is read once is done before another thread has woken up, unless it is much.
    parallelFor(tasks, rows * columns / 4, [&](int64_t task) {
      body(task, task * perTask, (task + 1) * perTask < rows ? (task + 1) * perTask : rows);
    });
  }
};

template <class V> inline float total(V v) {
  float lanes[width<V>], sum = 0;
  store<V>(lanes, v);
  for (int i = 0; i < width<V>; i++) sum += lanes[i];
  return sum;
}

// a . b: eight sums at once, so that neither precision nor speed is that of one.
float dot(const float* a, const float* b, int64_t n) {
  Float8 sum{};
  int64_t i = 0;
  for (; i + width<Float8> <= n; i += width<Float8>) sum += load<Float8>(a + i) * load<Float8>(b + i);
  float rest = total(sum);
  for (; i < n; i++) rest += a[i] * b[i];
  return rest;
}

// x / max(|x|, 1e-12) in place; NaN stays NaN.
void normalize(float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += static_cast<double>(x[i]) * x[i];
  const double norm = std::sqrt(sum);
  const float divisor = static_cast<float>(norm < kLeast ? kLeast : norm);
  for (int64_t i = 0; i < n; i++) x[i] /= divisor;
}

// W' v, summed task by task.
std::vector<double> transposedProduct(const Rows& shape, const float* w, const float* v) {
  const int64_t C = shape.columns;
  std::vector<double> partial(shape.tasks * C, 0.0), sums(C, 0.0);
  shape.each([&](int64_t task, int64_t begin, int64_t end) {
    forBlocks(begin, end, [&](int64_t first, int64_t last) {
      forChannels(C, [&](int64_t c, auto tag) {
        using V = decltype(tag);
        V sum{};
        for (int64_t row = first; row < last; row++) sum += load<V>(w + row * C + c) * v[row];
        addTo<V>(partial.data() + task * C + c, sum);
      });
    });
  });
  for (int64_t task = 0; task < shape.tasks; task++)
    for (int64_t c = 0; c < C; c++) sums[c] += partial[task * C + c];
  return sums;
}

void compute(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor weight = call.input(0), start = call.input(1);
  if (!call.ok()) return;
  const auto form = weight.shape();
  const int64_t C = start.size();
  call.expect(!form.empty() && form.back() == C && C > 0 && weight.size() > 0,
              "OnestepSpectralNorm: expected a weight of " + describe(start.shape()) + " outputs, got " + describe(form));
  if (!call.ok()) return;
  const Rows shape(weight.size(), C);
  const Tensor y = call.output(0, form), u = call.output(1, {C}), v = call.output(2, {shape.rows}), sigma = call.output(3, {});
  if (!call.ok()) return;
  const float *w = weight.data(), *former = start.data();
  float *pu = u.data(), *pv = v.data(), *py = y.data();
  shape.each([&](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) pv[row] = dot(w + row * C, former, C);
  });
  normalize(pv, shape.rows);
  const std::vector<double> product = transposedProduct(shape, w, pv);
  for (int64_t c = 0; c < C; c++) pu[c] = static_cast<float>(product[c]);
  normalize(pu, C);
  double value = 0;
  for (int64_t c = 0; c < C; c++) value += product[c] * pu[c];
  const float divisor = sigma.data()[0] = static_cast<float>(value);
  shape.each([&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin * C; i < end * C; i++) py[i] = w[i] / divisor;
  });
}

// dW = (dy - (dy . W) / sigma v u') / sigma
void computeGradient(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor dy = call.input(0), weight = call.input(1), u = call.input(2), v = call.input(3), sigma = call.input(4);
  if (!call.ok()) return;
  const auto form = dy.shape();
  const int64_t C = u.size();
  call.expect(weight.shape() == form && !form.empty() && form.back() == C && C > 0 && v.size() == dy.size() / C && sigma.size() == 1,
              "OnestepSpectralNormGrad: expected dy and a weight of " + describe(u.shape()) + " outputs, got " + describe(form) +
                  " and " + describe(weight.shape()));
  const Tensor dx = call.output(0, form);
  if (!call.ok()) return;
  const Rows shape(dy.size(), C);
  const float *from = dy.data(), *w = weight.data(), *pu = u.data(), *pv = v.data(), divisor = sigma.data()[0];
  std::vector<double> partial(shape.tasks, 0.0);
  shape.each([&](int64_t task, int64_t begin, int64_t end) {
    // By pieces of a thousand: float is precise enough within one.
    for (int64_t i = begin * C; i < end * C; i += 1024)
      partial[task] += dot(from + i, w + i, i + 1024 < end * C ? 1024 : end * C - i);
  });
  double projected = 0;
  for (double part : partial) projected += part;
  const float along = static_cast<float>(projected / divisor);
  float* const to = dx.data();
  shape.each([&](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float factor = along * pv[row];
      for (int64_t c = 0; c < C; c++) to[row * C + c] = (from[row * C + c] - factor * pu[c]) / divisor;
    }
  });
}

}  // namespace

std::string registerSpectralNorm() {
  const std::string problem =
      registerOperation("OnestepSpectralNorm", {}, {"weight: float", "u: float"},
                        {"y: float", "new_u: float", "v: float", "sigma: float"}, create, compute, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepSpectralNormGrad", {},
                           {"dy: float", "weight: float", "u: float", "v: float", "sigma: float"}, {"dweight: float"}, create,
                           computeGradient, destroy);
}

}  // namespace onestep
