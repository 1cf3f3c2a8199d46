// y = min(max(x + bias, least), bound) over [..., C]: ReLU from 0 to infinity, ReLU6 from 0 to 6, the bias alone without bounds.
#include "fused-ops.h"

namespace onestep {
namespace {

// Rows, that is pixels, which one task works on.
constexpr int64_t kRows = 512;

struct Bounds {
  float least, bound;
};

void* create(TF_OpKernelConstruction* raw) { return new Bounds{Construction{raw}.number("least"), Construction{raw}.number("bound")}; }
void destroy(void* bounds) { delete static_cast<Bounds*>(bounds); }

void compute(void* raw, TF_OpKernelContext* context) {
  const auto [least, bound] = *static_cast<Bounds*>(raw);
  Call call(context);
  const Tensor x = call.input(0), bias = call.input(1);
  if (!call.ok()) return;
  const auto shape = x.shape();
  const int64_t C = bias.size();
  call.expect(!shape.empty() && shape.back() == C,
              "OnestepBiasActivation: expected a bias of " + describe(shape) + "'s last dimension, got " + describe(bias.shape()));
  const Tensor y = call.output(0, shape);
  if (!call.ok() || x.size() == 0) return;
  const int64_t rows = x.size() / C;
  const float *from = x.data(), *biases = bias.data();
  float* const to = y.data();
  parallelFor((rows + kRows - 1) / kRows, x.size(), [&, least = least, bound = bound](int64_t task) {
    const int64_t end = (task + 1) * kRows < rows ? (task + 1) * kRows : rows;
    // In the order of memory: what lies beyond the caches comes by streams.
    for (int64_t row = task * kRows; row < end; row++)
      forChannels(C, [=](int64_t c, auto tag) {
        using V = decltype(tag);
        const V low = V{} + least, high = V{} + bound;
        V z = load<V>(from + row * C + c) + load<V>(biases + c);
        // NaN stays NaN: a comparison with it is false.
        z = z < low ? low : z;
        store<V>(to + row * C + c, z > high ? high : z);
      });
  });
}

}  // namespace

std::string registerBiasActivation() {
  return registerOperation("OnestepBiasActivation", {"least: float", "bound: float"}, {"x: float", "bias: float"}, {"y: float"}, create, compute,
                           destroy);
}

}  // namespace onestep
