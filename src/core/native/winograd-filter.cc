// The gradients of convolutions for their filters by Winograd's minimal filtering (winograd.h): the results' gradients take
// the filter's place, and what is summed over tiles before it is transformed back is the filter's gradient.
#include "winograd.h"

#include <mutex>

namespace onestep {
namespace {

using namespace winograd;

// Values of x and dy that are kept at a time.
constexpr int64_t kMost = 2 << 20;

// Tiles [first, last) of dy [B, H, W, K] to values [panel, kValues, rows, 16 channels].
template <int M> void transformGradients(const Tiles& tiles, int64_t first, int64_t last, int64_t begin, const float* dy, float* values, int64_t rows) {
  constexpr int64_t kValues = Kind<M>::kValues;
  const int64_t K = tiles.channels, down = tiles.down, across = tiles.across;
  for (int64_t tile = first; tile < last; tile++) {
    const float* const image = dy + tile / (across * down) * tiles.height * tiles.width * K;
    const float* pixels[M][M];
    gather<M>(image, tiles.height, tiles.width, K, 1, tile / across % down * M, tile % across * M,
              [&](int r, int s, const float* pixel) { pixels[r][s] = pixel; });
    for (int64_t k = 0; k < K; k += 8) {
      float* const to = values + k / kColumns * kValues * rows * kColumns + (tile - begin) * kColumns + k % kColumns;
      expand<Kind<M>::kTile, M>([&](int r, int s) { return pixels[r][s] ? load<Float8>(pixels[r][s] + k) : Float8{}; },
                [&](int i, Float8 v) { store<Float8>(to + i * rows * kColumns, v); });
    }
  }
}

template <int M> bool filterGradient(const Tiles& of, const Tiles& gradients, const float* x, const float* dy, float* filter, Workspace& workspace) {
  constexpr int64_t kTaps = Kind<M>::kTaps, kSide = Kind<M>::kSide, kValues = Kind<M>::kValues;
  // Rows of x's channels whose sums one task makes.
  constexpr int64_t kTask = (M == 4 ? 2 : 4) * kRows;
  const int64_t C = of.channels, K = gradients.channels, depth = Kind<M>::kPlanes * C, stride = depth + kPadding;
  const int64_t panels = (K + kColumns - 1) / kColumns, tiles = of.count();
  const int64_t group = std::min(tiles, std::max<int64_t>(2 * kDepth, kMost / kValues / (stride + panels * kColumns)));
  float* const values = workspace.reserve(kValues * group * (stride + panels * kColumns));
  if (values == nullptr) return false;
  float* const turned = values + kValues * group * stride;

  for (int64_t begin = 0; begin < tiles; begin += group) {
    const int64_t count = std::min(group, tiles - begin), block = 16;
    parallelFor((count + block - 1) / block, count * (depth + K) * kValues, [&](int64_t i) {
      const int64_t first = begin + i * block, last = std::min(begin + count, first + block);
      transformTiles<M>(of, first, last, x, values + (first - begin) * stride, group, stride);
      transformGradients<M>(gradients, first, last, begin, dy, turned, group);
    });

    const int64_t chunks = (panels + kPanels - 1) / kPanels, tasks = (C + kTask - 1) / kTask;
    parallelFor(Kind<M>::kPlanes * tasks * chunks, count * depth * K * kValues, [&](int64_t task) {
      constexpr int64_t width = kPanels * kColumns;
      alignas(64) static thread_local float sums[kValues * kTask * width];
      const int64_t panel = task % chunks * kPanels, plane = task / chunks / tasks, channel = task / chunks % tasks * kTask;
      const int64_t across = std::min(kPanels, panels - panel), channels = std::min(kTask, C - channel);
      for (int64_t i = 0; i < kValues; i++)
        for (int64_t row = 0; row < channels; row += kRows)
          for (int64_t p = 0; p < across; p++)
            multiply(values + i * group * stride + plane * C + channel + row, 1, stride,
                     turned + ((panel + p) * kValues + i) * group * kColumns, count, sums + (i * kTask + row) * width + p * kColumns, width);
      const int64_t end = std::min(K - panel * kColumns, across * kColumns), step = Kind<M>::kStep;
      for (int64_t row = 0; row < channels; row++)
        for (int64_t k = 0; k < end; k += 8)
          contract<Kind<M>::kTile, kTaps>([&](int i) { return load<Float8>(sums + (i * kTask + row) * width + k); },
                          [&](int r, int s, Float8 v) {
                            const int64_t at = Kind<M>::tap(plane / step, r) * kSide + Kind<M>::tap(plane % step, s);
                            float* const to = filter + (at * C + channel + row) * K + panel * kColumns + k;
                            store<Float8>(to, begin == 0 ? v : load<Float8>(to) + v);
                          });
    });
  }
  return true;
}

void* create(TF_OpKernelConstruction* raw) { return new int64_t(Construction{raw}.integer("stride")); }
void destroy(void* stride) { delete static_cast<int64_t*>(stride); }

void compute(void* raw, TF_OpKernelContext* context) {
  const int64_t stride = *static_cast<int64_t*>(raw);
  Call call(context);
  const Tensor x = call.input(0), dy = call.input(1);
  if (!call.ok()) return;
  const auto of = x.shape(), from = dy.shape();
  const auto strided = [stride](int64_t length) { return (length + stride - 1) / stride; };
  if (!call.expect((stride == 1 || stride == 2) && of.size() == 4 && from.size() == 4 && of[0] == from[0] && strided(of[1]) == from[1] &&
                       strided(of[2]) == from[2] && of[3] % 8 == 0 && from[3] % 8 == 0,
                   "OnestepWinogradFilter: expected [B, H, W, C] and [B, H / stride, W / stride, K], channels in eights, got " +
                       describe(of) + ", " + describe(from) + " and stride " + std::to_string(stride)))
    return;
  const int64_t side = stride == 1 ? 3 : 4, M = stride == 1 ? resultsOf(from[1], from[2], of[3], from[3]) : 3;
  const Tensor filter = call.output(0, {side, side, of[3], from[3]});
  if (!call.ok() || filter.size() == 0) return;
  if (x.size() == 0) {
    std::memset(filter.data(), 0, static_cast<size_t>(filter.size()) * sizeof(float));
    return;
  }
  const int64_t down = (from[1] + M - 1) / M, across = (from[2] + M - 1) / M;
  const Tiles tiles{of[0], of[1], of[2], of[3], stride, down, across}, gradients{from[0], from[1], from[2], from[3], 1, down, across};

  static std::mutex mutex;
  static Workspace* const kept = new Workspace;
  std::unique_lock<std::mutex> turn(mutex, std::try_to_lock);
  Workspace own;
  const bool done = (M == 4 ? filterGradient<4> : M == 2 ? filterGradient<2> : filterGradient<3>)(tiles, gradients, x.data(), dy.data(), filter.data(),
                                                                         turn.owns_lock() ? *kept : own);
  call.expect(done, "OnestepWinogradFilter: out of memory");
}

}  // namespace

std::string registerWinogradFilter() {
  return registerOperation("OnestepWinogradFilter", {"stride: int"}, {"x: float", "dy: float"}, {"filter: float"}, create, compute, destroy);
}

}  // namespace onestep
