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

// The filter's gradient [side, side, C, K] out of one element after the other of [kValues, planes C, K]: at(i, plane, row, k).
template <int M, class At> inline void contractFilter(int64_t plane, int64_t row, int64_t C, int64_t K, int64_t begin, int64_t end, At at, bool add, float* filter) {
  constexpr int64_t kTaps = Kind<M>::kTaps, kSide = Kind<M>::kSide, kStep = Kind<M>::kStep;
  for (int64_t k = begin; k < end; k += 8)
    contract<Kind<M>::kTile, kTaps>([&](int i) { return load<Float8>(at(i, k)); },
                                    [&](int r, int s, Float8 v) {
                                      const int64_t tap = Kind<M>::tap(plane / kStep, r) * kSide + Kind<M>::tap(plane % kStep, s);
                                      float* const to = filter + (tap * C + row) * K + k;
                                      store<Float8>(to, add ? load<Float8>(to) + v : v);
                                    });
}

// For small filters and many tiles: each part of the tiles, whose number is always the same, has sums of its own, so that what lies between
// the transforms stays in the cache of one thread.
template <int M> struct Parts {
  static constexpr int64_t kParts = 8, kGroup = 48, kValues = Kind<M>::kValues;
  // Values, sums and filters of all parts that are worth their memory.
  static constexpr int64_t kRoom = 4 << 20;

  const Tiles &of, &gradients;
  int64_t C = of.channels, K = gradients.channels, depth = Kind<M>::kPlanes * C, stride = depth + kPadding;
  int64_t rows = roundUp(depth, kRows), width = roundUp(K, kColumns);
  int64_t ofSums = kValues * rows * width, ofFilter = Kind<M>::kSide * Kind<M>::kSide * C * K;
  int64_t ofPart = kValues * kGroup * (stride + width) + ofSums + ofFilter;

  bool fit() const { return kParts * (ofSums + ofFilter) <= kRoom && of.count() >= 2 * kParts * kGroup; }

  void run(const float* x, const float* dy, float* filter, float* memory) const {
    const int64_t tiles = of.count(), each = (tiles + kParts - 1) / kParts;
    parallelFor(kParts, tiles * depth * K * kValues, [&](int64_t part) {
      float* const values = memory + part * ofPart, * const turned = values + kValues * kGroup * stride;
      float* const sums = turned + kValues * kGroup * width, * const own = sums + ofSums;
      const int64_t first = std::min(tiles, part * each), last = std::min(tiles, first + each);
      if (first == last) std::memset(sums, 0, static_cast<size_t>(ofSums) * sizeof(float));
      for (int64_t begin = first; begin < last; begin += kGroup) {
        const int64_t end = std::min(last, begin + kGroup);
        transformTiles<M>(of, begin, end, x, values, kGroup, stride);
        transformGradients<M>(gradients, begin, end, begin, dy, turned, kGroup);
        for (int64_t i = 0; i < kValues; i++)
          for (int64_t row = 0; row < rows; row += kRows)
            for (int64_t k = 0; k < width; k += kColumns)
              multiply(values + i * kGroup * stride + row, 1, stride, turned + (k / kColumns * kValues + i) * kGroup * kColumns, end - begin,
                       sums + (i * rows + row) * width + k, width, begin > first);
      }
      for (int64_t row = 0; row < depth; row++)
        contractFilter<M>(row / C, row % C, C, K, 0, K, [&](int i, int64_t k) { return sums + (i * rows + row) * width + k; }, false, own);
    });
    constexpr int64_t kSpan = 4096;
    parallelFor((ofFilter + kSpan - 1) / kSpan, kParts * ofFilter, [&](int64_t span) {
      for (int64_t i = span * kSpan, end = std::min(ofFilter, i + kSpan); i < end; i += 8) {
        const float* const from = memory + ofPart - ofFilter + i;
        Float8 sum = load<Float8>(from);
        for (int64_t part = 1; part < kParts; part++) sum += load<Float8>(from + part * ofPart);
        store<Float8>(filter + i, sum);
      }
    });
  }
};

template <int M> bool filterGradient(const Tiles& of, const Tiles& gradients, const float* x, const float* dy, float* filter, Workspace& workspace) {
  const Parts<M> small{of, gradients};
  if (small.fit()) {
    float* const memory = workspace.reserve(small.kParts * small.ofPart);
    if (memory != nullptr) small.run(x, dy, filter, memory);
    return memory != nullptr;
  }
  constexpr int64_t kValues = Kind<M>::kValues;
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
      const int64_t end = std::min(K, (panel + across) * kColumns);
      for (int64_t row = 0; row < channels; row++)
        contractFilter<M>(plane, channel + row, C, K, panel * kColumns, end,
                          [&](int i, int64_t k) { return sums + (i * kTask + row) * width + k - panel * kColumns; }, begin > 0, filter);
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
