// Depthwise convolution of [B, H, W, C] with a filter [kh, kw, C, 1], and its gradient for the images.
//
// Both are the same sum over places of an input, only over different ones: on each axis a list for every output of the
// inputs it is made of and their taps.
#include "fused-ops.h"

namespace onestep {
namespace {

// Several registers: additions to one do not wait for those to another.
typedef float Float16 __attribute__((vector_size(64)));
typedef float Float32 __attribute__((vector_size(128)));

// Channels for which a row is gone through at once: their filters stay in the first cache, their pixels are whole cache lines.
constexpr int64_t kChannels = 64;

struct Geometry {
  int64_t stride_rows, stride_columns, top, left, rows, columns;
  bool gradient;
};

struct Term {
  int64_t from, tap;
};
using Terms = std::vector<std::vector<Term>>;

// For each of `outputs` places of the result the places of the `inputs` and the taps that go into it.
Terms termsOf(int64_t outputs, int64_t inputs, int64_t taps, int64_t stride, int64_t before, bool gradient) {
  Terms terms(outputs);
  for (int64_t output = 0; output < outputs; output++)
    for (int64_t tap = 0; tap < taps; tap++) {
      // Forward: input = output stride + tap - before. The gradient: the same with input and output exchanged.
      int64_t from = gradient ? output + before - tap : output * stride + tap - before;
      if (gradient) {
        if (from < 0 || from % stride != 0) continue;
        from /= stride;
      }
      if (from >= 0 && from < inputs) terms[output].push_back({from, tap});
    }
  return terms;
}

void* create(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Geometry{c.integer("stride_rows"), c.integer("stride_columns"), c.integer("top"), c.integer("left"),
                      c.integer("rows"),        c.integer("columns"),        c.flag("gradient")};
}
void destroy(void* geometry) { delete static_cast<Geometry*>(geometry); }

void compute(void* raw, TF_OpKernelContext* context) {
  const Geometry& geometry = *static_cast<Geometry*>(raw);
  Call call(context);
  const Tensor x = call.input(0), filter = call.input(1);
  if (!call.ok()) return;
  const auto shape = x.shape(), taps = filter.shape();
  call.expect(shape.size() == 4 && taps.size() == 4 && taps[3] == 1 && taps[2] == shape[3],
              "OnestepDepthwise: expected [B, H, W, C] and a filter [kh, kw, C, 1], got " + describe(shape) + " and " + describe(taps));
  const Tensor y = call.output(0, {shape[0], geometry.rows, geometry.columns, shape.back()});
  if (!call.ok() || y.size() == 0) return;
  const int64_t H = shape[1], W = shape[2], C = shape[3], rows = geometry.rows, columns = geometry.columns;
  const Terms vertical = termsOf(rows, H, taps[0], geometry.stride_rows, geometry.top, geometry.gradient);
  const Terms horizontal = termsOf(columns, W, taps[1], geometry.stride_columns, geometry.left, geometry.gradient);
  const float *images = x.data(), *weights = filter.data();
  float* const result = y.data();

  parallelFor(shape[0] * rows, y.size() * taps[0], [&](int64_t task) {
    const int64_t row = task % rows;
    const float* const image = images + task / rows * H * W * C;
    float* const to = result + task * columns * C;
    const auto pixel = [&](int64_t column, int64_t c, auto tag) {
      using V = decltype(tag);
      V sum{};
      for (const Term& v : vertical[row]) {
        const float* const line = image + v.from * W * C + c;
        const float* const tapLine = weights + v.tap * taps[1] * C + c;
        for (const Term& h : horizontal[column]) sum += load<V>(line + h.from * C) * load<V>(tapLine + h.tap * C);
      }
      store<V>(to + column * C + c, sum);
    };
    for (int64_t block = 0; block < C; block += kChannels) {
      const int64_t end = block + kChannels < C ? block + kChannels : C;
      for (int64_t column = 0; column < columns; column++) {
        int64_t c = block;
        for (; c + 32 <= end; c += 32) pixel(column, c, Float32{});
        for (; c + 16 <= end; c += 16) pixel(column, c, Float16{});
        for (; c + 8 <= end; c += 8) pixel(column, c, Float8{});
        for (; c < end; c++) pixel(column, c, 0.0f);
      }
    }
  });
}

}  // namespace

std::string registerDepthwise() {
  return registerOperation("OnestepDepthwise",
                           {"stride_rows: int", "stride_columns: int", "top: int", "left: int", "rows: int", "columns: int", "gradient: bool"},
                           {"x: float", "filter: float"}, {"y: float"}, create, compute, destroy);
}

}  // namespace onestep
