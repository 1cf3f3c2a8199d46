// Multiplies height and width of [B, H, W, C] by a matrix each, whose rows are mostly zeros: interpolation, short filters.
//
// A row of the result needs few rows of the input: they are added up into one line, from which its pixels are made.
#include "fused-ops.h"

namespace onestep {
namespace {

struct Term {
  int64_t from;
  float weight;
};
using Terms = std::vector<std::vector<Term>>;

// What is not zero in each row of a matrix [outputs, inputs], or of the transpose of one [inputs, outputs].
Terms termsOf(const float* matrix, int64_t outputs, int64_t inputs, bool transposed) {
  Terms terms(outputs);
  for (int64_t output = 0; output < outputs; output++)
    for (int64_t input = 0; input < inputs; input++) {
      const float weight = transposed ? matrix[input * outputs + output] : matrix[output * inputs + input];
      if (weight != 0.0f) terms[output].push_back({input, weight});
    }
  return terms;
}

// to[i] = the sum of K terms' from[term * stride + i], i in [0, size).
template <int K> void combineSome(const Term* terms, const float* from, int64_t stride, int64_t size, float* to) {
  const float* sources[K];
  float weights[K];
  for (int k = 0; k < K; k++) {
    sources[k] = from + terms[k].from * stride;
    weights[k] = terms[k].weight;
  }
  forLines(size, [&](int64_t i, auto tag) {
    using V = decltype(tag);
    V sum = load<V>(sources[0] + i) * weights[0];
    for (int k = 1; k < K; k++) sum += load<V>(sources[k] + i) * weights[k];
    store<V>(to + i, sum);
  });
}

// The same for any number of terms; of none it is zero.
void combine(const std::vector<Term>& terms, const float* from, int64_t stride, int64_t size, float* to) {
  switch (terms.size()) {
    case 1: return combineSome<1>(terms.data(), from, stride, size, to);
    case 2: return combineSome<2>(terms.data(), from, stride, size, to);
    case 3: return combineSome<3>(terms.data(), from, stride, size, to);
    case 4: return combineSome<4>(terms.data(), from, stride, size, to);
  }
  forChannels(size, [&](int64_t i, auto tag) {
    using V = decltype(tag);
    V sum{};
    for (const Term& term : terms) sum += load<V>(from + term.from * stride + i) * term.weight;
    store<V>(to + i, sum);
  });
}

void* create(TF_OpKernelConstruction* raw) { return new bool(Construction{raw}.flag("transposed")); }
void destroy(void* transposed) { delete static_cast<bool*>(transposed); }

void compute(void* raw, TF_OpKernelContext* context) {
  const bool transposed = *static_cast<bool*>(raw);
  Call call(context);
  const Tensor x = call.input(0), vertical = call.input(1), horizontal = call.input(2);
  if (!call.ok()) return;
  const auto shape = x.shape(), v = vertical.shape(), h = horizontal.shape();
  const int in = transposed ? 0 : 1, out = 1 - in;
  call.expect(shape.size() == 4 && v.size() == 2 && h.size() == 2 && v[in] == shape[1] && h[in] == shape[2],
              "OnestepResample: expected [B, H, W, C] and matrices for H and W, got " + describe(shape) + ", " + describe(v) + " and " +
                  describe(h));
  if (!call.ok()) return;
  const int64_t H = shape[1], W = shape[2], C = shape[3], rows = v[out], columns = h[out];
  const Tensor y = call.output(0, {shape[0], rows, columns, C});
  if (!call.ok() || y.size() == 0) return;
  const Terms down = termsOf(vertical.data(), rows, H, transposed), across = termsOf(horizontal.data(), columns, W, transposed);
  const float* const images = x.data();
  float* const result = y.data();
  parallelFor(shape[0] * rows, y.size() + x.size(), [&](int64_t task) {
    thread_local std::vector<float> line;
    line.resize(W * C);
    combine(down[task % rows], images + task / rows * H * W * C, W * C, W * C, line.data());
    float* const to = result + task * columns * C;
    for (int64_t column = 0; column < columns; column++) combine(across[column], line.data(), C, C, to + column * C);
  });
}

}  // namespace

std::string registerResample() {
  return registerOperation("OnestepResample", {"transposed: bool"}, {"x: float", "vertical: float", "horizontal: float"}, {"y: float"},
                           create, compute, destroy);
}

}  // namespace onestep
