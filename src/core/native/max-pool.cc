// The gradient of max pooling whose windows touch but do not overlap, and its transpose: both go by the first largest
// value of each window.
#include "fused-ops.h"

namespace onestep {
namespace {

struct Window {
  int64_t height, width;
};

void* create(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Window{c.integer("height"), c.integer("width")};
}
void destroy(void* window) { delete static_cast<Window*>(window); }

// With kGradient the gradient, dy to dx; without it the transpose, values on x to those at the places that the pooling picked.
template <bool kGradient> void compute(void* raw, TF_OpKernelContext* context) {
  const Window& window = *static_cast<Window*>(raw);
  Call call(context);
  const Tensor values = call.input(0), x = call.input(1), y = call.input(2);
  if (!call.ok()) return;
  const auto shape = x.shape(), pooled = y.shape();
  call.expect(shape.size() == 4 && pooled.size() == 4 && pooled[1] * window.height <= shape[1] && pooled[2] * window.width <= shape[2] &&
                  pooled[3] == shape[3] && values.shape() == (kGradient ? pooled : shape),
              "OnestepMaxPool: expected values of the shape of x or y, got " + describe(values.shape()) + ", " + describe(shape) + " and " +
                  describe(pooled));
  const Tensor result = call.output(0, kGradient ? shape : pooled);
  if (!call.ok() || result.size() == 0) return;
  const int64_t H = shape[1], W = shape[2], C = shape[3], rows = pooled[1], columns = pooled[2];
  const float *input = x.data(), *output = y.data(), *from = values.data();
  float* const to = result.data();

  // A task: the window row `task % rows` of an image, with, for the last one, what no window covers.
  parallelFor(shape[0] * rows, x.size() * 2, [&](int64_t task) {
    const int64_t image = task / rows, row = task % rows;
    const int64_t first = (image * H + row * window.height) * W * C;
    if constexpr (kGradient) {
      const int64_t end = row + 1 == rows ? (image + 1) * H * W * C : first + window.height * W * C;
      if (columns * window.width < W || row + 1 == rows) std::memset(to + first, 0, (end - first) * sizeof(float));
    }
    for (int64_t column = 0; column < columns; column++) {
      const int64_t at = first + column * window.width * C, pool = (task * columns + column) * C;
      forChannels(C, [&](int64_t c, auto tag) {
        using V = decltype(tag);
        const V largest = load<V>(output + pool + c), zero = V{};
        V rest = kGradient ? load<V>(from + pool + c) : zero;
        V sum = zero, free = zero + 1.0f;
        for (int64_t i = 0; i < window.height; i++)
          for (int64_t j = 0; j < window.width; j++) {
            const int64_t place = at + (i * W + j) * C + c;
            const V here = load<V>(input + place);
            if constexpr (kGradient) {
              store<V>(to + place, here == largest ? rest : zero);
              rest = here == largest ? zero : rest;
            } else {
              sum += here == largest ? load<V>(from + place) * free : zero;
              free = here == largest ? zero : free;
            }
          }
        if constexpr (!kGradient) store<V>(to + pool + c, sum);
      });
    }
  });
}

}  // namespace

std::string registerMaxPool() {
  const std::vector<const char*> attributes = {"height: int", "width: int"};
  const std::string problem = registerOperation("OnestepMaxPoolGrad", attributes, {"values: float", "x: float", "y: float"},
                                                {"result: float"}, create, compute<true>, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepMaxPoolPick", attributes, {"values: float", "x: float", "y: float"}, {"result: float"}, create,
                           compute<false>, destroy);
}

}  // namespace onestep
