// Convolutions and their gradients for the images by Winograd's minimal filtering (winograd.h).
//
// The products over channels are 16 or 36 products of matrices, [tiles, C] [C, K], made block by block of tiles so that what
// lies between the transforms stays in the processor's cache. The value of a pixel does not depend on the batch around it.
#include "winograd.h"

#include <mutex>

namespace onestep {
namespace {

using namespace winograd;

// From images x [B, H, W, C] to y of K channels: each of the planes of x is a part of the depth, each of y a part of the panels.
struct Shape {
  Tiles from, to;  // the same tiles
  int64_t planesOf(const Tiles& tiles) const { return tiles.step * tiles.step; }
  int64_t depth() const { return planesOf(from) * from.channels; }
  int64_t panelsOfPlane() const { return (to.channels + kColumns - 1) / kColumns; }
  int64_t panels() const { return planesOf(to) * panelsOfPlane(); }
};

// filter [side, side, C, K] to [panel, kValues, depth, 16 channels].
template <int M> void transformFilters(const Shape& shape, const float* filter, float* values) {
  constexpr int64_t kValues = Kind<M>::kValues;
  const int64_t C = shape.from.channels, K = shape.to.channels, depth = shape.depth();
  parallelFor(shape.panels(), depth * K * kValues, [&](int64_t panel) {
    float* const out = values + panel * kValues * depth * kColumns;
    for (int64_t d = 0; d < depth; d++)
      for (int64_t lane = 0; lane < kColumns; lane += 8) {
        const int64_t k = panel * kColumns + lane, plane = d / C, c = d % C, step = shape.from.step;
        const auto put = [&](int i, Float8 v) { store<Float8>(out + (i * depth + d) * kColumns + lane, v); };
        const auto tap = [&](int r, int s) {
          if (k >= K) return Float8{};
          const int64_t at = Kind<M>::tap(plane / step, r) * Kind<M>::kSide + Kind<M>::tap(plane % step, s);
          return load<Float8>(filter + (at * C + c) * K + k);
        };
        expand<Kind<M>::kTile, Kind<M>::kTaps>(tap, put);
      }
  });
}

// filter [side, side, K, C] of the convolution whose gradient this is, to the same: turned by half a turn, channels exchanged.
template <int M> void transformTurned(const Shape& shape, const float* filter, float* values) {
  constexpr int64_t kTaps = Kind<M>::kTaps, kValues = Kind<M>::kValues;
  const int64_t C = shape.from.channels, K = shape.to.channels, step = shape.to.step;
  parallelFor(shape.panels(), C * K * kValues, [&](int64_t panel) {
    float* const out = values + panel * kValues * C * kColumns;
    const int64_t plane = panel / shape.panelsOfPlane(), begin = panel % shape.panelsOfPlane() * kColumns;
    float square[kValues][kColumns][8];
    for (int64_t c = 0; c < C; c += 8) {
      for (int64_t lane = 0; lane < kColumns; lane++) {
        const int64_t k = begin + lane;
        const auto tap = [&](int r, int s) {
          if (k >= K) return Float8{};
          const int64_t at =
              Kind<M>::tap(plane / step, kTaps - 1 - r) * Kind<M>::kSide + Kind<M>::tap(plane % step, kTaps - 1 - s);
          return load<Float8>(filter + (at * K + k) * C + c);
        };
        expand<Kind<M>::kTile, kTaps>(tap, [&](int i, Float8 v) { store<Float8>(square[i][lane], v); });
      }
      for (int64_t i = 0; i < kValues; i++)
        for (int64_t j = 0; j < 8; j++) {
          float* const row = out + (i * C + c + j) * kColumns;
          for (int64_t lane = 0; lane < kColumns; lane++) row[lane] = square[i][lane][j];
        }
    }
  });
}

// One block of tiles: x to values, their products, sums to y.
template <int M> void convolveTiles(const Shape& shape, int64_t first, int64_t last, const float* x, const float* filters, float* y) {
  constexpr int64_t kValues = Kind<M>::kValues;
  const int64_t depth = shape.depth(), K = shape.to.channels, height = shape.to.height, width = shape.to.width, step = shape.to.step;
  const int64_t rows = roundUp(last - first, kRows), stride = depth + kPadding, chunk = std::min(kPanels, shape.panelsOfPlane()) * kColumns;
  thread_local Workspace workspace;
  float* const values = workspace.reserve(kValues * rows * (stride + chunk));
  float* const sums = values + kValues * rows * stride;
  transformTiles<M>(shape.from, first, last, x, values, rows, stride);

  const int64_t ofPlane = shape.panelsOfPlane(), across = shape.to.across, down = shape.to.down;
  for (int64_t plane = 0; plane < step * step; plane++)
    for (int64_t panel = 0; panel < ofPlane; panel += kPanels) {
      const int64_t panels = std::min(kPanels, ofPlane - panel);
      for (int64_t i = 0; i < kValues; i++)
        for (int64_t p = 0; p < panels; p++) {
          const float* const b = filters + ((plane * ofPlane + panel + p) * kValues + i) * depth * kColumns;
          for (int64_t row = 0; row < rows; row += kRows)
            multiply(values + (i * rows + row) * stride, stride, 1, b, depth, sums + (i * rows + row) * chunk + p * kColumns, chunk);
        }
      const int64_t end = std::min(K - panel * kColumns, panels * kColumns), odd[2] = {plane / step, plane % step};
      for (int64_t tile = first; tile < last; tile++) {
        // Of a plane of odd pixels the results begin one earlier.
        const int64_t top = step * (tile / across % down * M - odd[0]) + odd[0], left = step * (tile % across * M - odd[1]) + odd[1];
        float* const image = y + tile / (across * down) * height * width * K + panel * kColumns;
        float* pixels[M][M];
        gather<M>(image, height, width, K, step, top, left, [&](int r, int s, const float* pixel) { pixels[r][s] = const_cast<float*>(pixel); });
        const float* const from = sums + (tile - first) * chunk;
        for (int64_t k = 0; k < end; k += 8)
          contract<Kind<M>::kTile, M>([&](int i) { return load<Float8>(from + i * rows * chunk + k); },
                      [&](int r, int s, Float8 v) { if (pixels[r][s]) store<Float8>(pixels[r][s] + k, v); });
      }
    }
}

// Tiles of a block: what lies between the transforms stays in the second cache; as many blocks as keep two threads at work
// to the end. Measured (bench/convolutions.ts).
template <int M> int64_t blockOf(const Shape& shape) {
  const int64_t depth = shape.depth(), tiles = shape.from.count();
  const int64_t most = M == 4 ? (depth <= 128 ? 30 : depth <= 256 ? 42 : 24) : (depth <= 256 ? 96 : 48);
  const int64_t blocks = (tiles + most - 1) / most, even = blocks < 8 ? roundUp(blocks, 2) : blocks;
  return roundUp((tiles + even - 1) / even, kRows);
}

template <int M> void convolve(const Shape& shape, bool transposed, const float* x, const float* filter, float* values, float* y) {
  (transposed ? transformTurned<M> : transformFilters<M>)(shape, filter, values);
  const int64_t tiles = shape.from.count(), block = blockOf<M>(shape);
  parallelFor((tiles + block - 1) / block, tiles * shape.depth() * shape.to.channels, [&](int64_t i) {
    convolveTiles<M>(shape, i * block, std::min(tiles, (i + 1) * block), x, values, y);
  });
}

struct Options {
  int64_t stride, height, width;
  bool transposed;
};

// Height and width are those of the result: a stride forgets whether they were even.
void* create(TF_OpKernelConstruction* raw) {
  const Construction options{raw};
  return new Options{options.integer("stride"), options.integer("height"), options.integer("width"), options.flag("transposed")};
}
void destroy(void* options) { delete static_cast<Options*>(options); }

void compute(void* raw, TF_OpKernelContext* context) {
  const auto [stride, height, width, transposed] = *static_cast<Options*>(raw);
  Call call(context);
  const Tensor x = call.input(0), filter = call.input(1);
  if (!call.ok()) return;
  const auto of = x.shape(), taps = filter.shape();
  const int64_t side = stride == 1 ? 3 : 4;
  if (!call.expect((stride == 1 || stride == 2) && of.size() == 4 && taps.size() == 4 && taps[0] == side && taps[1] == side &&
                       of[3] == taps[transposed ? 3 : 2] && taps[2] % 8 == 0 && taps[3] % 8 == 0,
                   "OnestepWinograd: expected [B, H, W, C] and [3, 3, C, K] at stride 1 or [4, 4, C, K] at stride 2, channels in "
                   "eights, got " + describe(of) + ", " + describe(taps) + " and stride " + std::to_string(stride)))
    return;
  const int64_t K = taps[transposed ? 2 : 3];
  const auto strided = [stride = stride](int64_t length) { return (length + stride - 1) / stride; };
  const bool fits = transposed ? of[1] == strided(height) && of[2] == strided(width) : strided(of[1]) == height && strided(of[2]) == width;
  if (!call.expect(fits, "OnestepWinograd: " + describe(of) + " and a result of " + describe({height, width}) + " do not belong together"))
    return;
  const Tensor y = call.output(0, {of[0], height, width, K});
  if (!call.ok() || y.size() == 0) return;

  Shape shape{{of[0], of[1], of[2], of[3], transposed ? 1 : stride}, {of[0], height, width, K, transposed ? stride : 1}};
  const int64_t M = stride == 1 ? resultsOf(height, width, of[3], K) : 3, values = M == 4 ? Kind<4>::kValues : Kind<2>::kValues;
  // A plane of odd pixels begins one earlier and has one pixel less where the length is odd.
  const auto tilesOver = [&, stride = stride](int64_t length) {
    if (stride == 1) return (length + M - 1) / M;
    return transposed ? std::max((length + 1) / 2 + 2, length / 2 + 3) / 3 : (length + 2) / 3;
  };
  shape.from.down = shape.to.down = tilesOver(height);
  shape.from.across = shape.to.across = tilesOver(width);

  // One call at a time keeps its filters; another JavaScript thread takes memory of its own.
  static std::mutex mutex;
  static Workspace* const kept = new Workspace;
  std::unique_lock<std::mutex> turn(mutex, std::try_to_lock);
  Workspace own;
  float* const filters = (turn.owns_lock() ? *kept : own).reserve(shape.panels() * kColumns * values * shape.depth());
  if (!call.expect(filters != nullptr, "OnestepWinograd: out of memory")) return;
  (M == 4 ? convolve<4> : M == 2 ? convolve<2> : convolve<3>)(shape, transposed, x.data(), filter.data(), filters, y.data());
}

}  // namespace

std::string registerWinograd() {
  return registerOperation("OnestepWinograd", {"stride: int", "height: int", "width: int", "transposed: bool"},
                           {"x: float", "filter: float"}, {"y: float"}, create, compute, destroy);
}

}  // namespace onestep
