// Convolutions by Winograd's minimal filtering with tiles of 4x4 (Lavin and Gray 2015, arXiv 1509.09308), for the two kinds
// of which the networks consist, each with a frame of one zero:
//
//   3x3, stride 1   M = 2: 2x2 results of a 3x3 filter, F(2x2, 3x3)
//   4x4, stride 2   M = 3: one of four planes of every second pixel, 3x3 results of a 2x2 filter, F(3x3, 2x2)
//
//   y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A, with 16 multiplications a tile where the direct sum has 36
//
// The points 0, 1, -1 and infinity give both the same B; a gradient for the filter exchanges the roles of y and g.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "fused-ops.h"

namespace onestep::winograd {

constexpr int64_t kValues = 16;              // of a transformed tile
constexpr int64_t kRows = 6, kColumns = 16;  // of a micro-kernel: 12 sums of eight lanes, which registers hold
constexpr int64_t kPanels = 4;               // micro-kernels side by side before their sums are transformed back
constexpr int64_t kDepth = 128;              // terms that are summed before they join the total
constexpr int64_t kPadding = 16;             // keeps rows of 2^n channels out of the same lines of the cache

constexpr int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Memory that is kept for the next call: fresh pages cost as much as what is computed in them.
class Workspace {
 public:
  // Null where there is no memory.
  float* reserve(int64_t size) {
    if (size > size_) {
      memory_.reset();
      const size_t bytes = static_cast<size_t>(roundUp(size * static_cast<int64_t>(sizeof(float)), 64));
      memory_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      size_ = memory_ ? size : 0;
      if (memory_) std::memset(memory_.get(), 0, bytes);
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  int64_t size_ = 0;
};

// The kind of convolution by the width of its tiles' results.
template <int M> struct Kind {
  static constexpr int64_t kStep = M == 2 ? 1 : 2;           // stride
  static constexpr int64_t kTaps = M == 2 ? 3 : 2;           // of a plane's filter, a side
  static constexpr int64_t kSide = kStep * kTaps;            // of the whole filter
  static constexpr int64_t kPlanes = kStep * kStep;
  // Which tap of the whole filter is tap r of the plane that begins at pixel `parity`.
  static constexpr int64_t tap(int64_t parity, int64_t r) { return M == 2 ? r : 2 * r + 1 - parity; }
};

// Tiles over images of which every `step`-th pixel makes a plane; the tiles' results touch.
struct Tiles {
  int64_t batch, height, width, channels, step, down, across;
  int64_t count() const { return batch * down * across; }
};

// G g Gᵀ: N x N values, one vector of channels each, to 16.
template <int N, class Get, class Put> inline void expand(Get get, Put put) {
  Float8 rows[4][N];
  for (int s = 0; s < N; s++) {
    const Float8 first = get(0, s), last = get(N - 1, s);
    const Float8 even = N == 3 ? 0.5f * (first + last) : 0.5f * first, odd = N == 3 ? 0.5f * get(1, s) : 0.5f * last;
    rows[0][s] = first;
    rows[1][s] = even + odd;
    rows[2][s] = even - odd;
    rows[3][s] = last;
  }
  for (int i = 0; i < 4; i++) {
    const Float8 first = rows[i][0], last = rows[i][N - 1];
    const Float8 even = N == 3 ? 0.5f * (first + last) : 0.5f * first, odd = N == 3 ? 0.5f * rows[i][1] : 0.5f * last;
    put(4 * i, first);
    put(4 * i + 1, even + odd);
    put(4 * i + 2, even - odd);
    put(4 * i + 3, last);
  }
}

// Aᵀ m A: 16 values to N x N.
template <int N, class Get, class Put> inline void contract(Get get, Put put) {
  Float8 rows[N][4];
  const auto fold = [](Float8 a, Float8 b, Float8 c, Float8 d, auto place) {
    const Float8 sum = b + c, difference = b - c;
    place(0, a + sum);
    place(1, N == 2 ? difference - d : difference);
    if (N == 3) place(2, sum - d);
  };
  for (int s = 0; s < 4; s++)
    fold(get(s), get(4 + s), get(8 + s), get(12 + s), [&](int i, Float8 v) { rows[i][s] = v; });
  for (int i = 0; i < N; i++)
    fold(rows[i][0], rows[i][1], rows[i][2], rows[i][3], [&](int j, Float8 v) { put(i, j, v); });
}

// Bᵀ d B: 4 x 4 values to 16.
template <class Get, class Put> inline void transformTile(Get get, Put put) {
  Float8 rows[4][4];
  for (int s = 0; s < 4; s++) {
    const Float8 a = get(0, s), b = get(1, s), c = get(2, s), d = get(3, s);
    rows[0][s] = a - c;
    rows[1][s] = b + c;
    rows[2][s] = c - b;
    rows[3][s] = b - d;
  }
  for (int i = 0; i < 4; i++) {
    put(4 * i, rows[i][0] - rows[i][2]);
    put(4 * i + 1, rows[i][1] + rows[i][2]);
    put(4 * i + 2, rows[i][2] - rows[i][1]);
    put(4 * i + 3, rows[i][1] - rows[i][3]);
  }
}

// Calls use(row, column, pixel) for N x N pixels of every `step`-th, from (top, left) on; null for what lies outside.
template <int N, class Use>
inline void gather(const float* image, int64_t height, int64_t width, int64_t channels, int64_t step, int64_t top, int64_t left, Use use) {
  const bool inside = top >= 0 && left >= 0 && top + step * (N - 1) < height && left + step * (N - 1) < width;
  const float* const from = image + (top * width + left) * channels;
  for (int r = 0; r < N; r++)
    for (int s = 0; s < N; s++) {
      const int64_t y = top + step * r, x = left + step * s;
      const bool there = inside || (y >= 0 && x >= 0 && y < height && x < width);
      use(r, s, there ? from + (r * width + s) * step * channels : nullptr);
    }
}

// Tiles [first, last) of x to values [16, rows, stride], a tile's planes one after the other in its row.
template <int M> void transformTiles(const Tiles& tiles, int64_t first, int64_t last, const float* x, float* values, int64_t rows, int64_t stride) {
  const auto [batch, height, width, channels, step, down, across] = tiles;
  for (int64_t tile = first; tile < last; tile++) {
    const int64_t column = tile % across * M, row = tile / across % down * M;
    const float* const image = x + tile / (across * down) * height * width * channels;
    for (int64_t plane = 0; plane < step * step; plane++) {
      const int64_t odd[2] = {plane / step, plane % step};
      const int64_t top = step == 1 ? row - 1 : 2 * (row - odd[0]) + odd[0], left = step == 1 ? column - 1 : 2 * (column - odd[1]) + odd[1];
      const float* pixels[4][4];
      gather<4>(image, height, width, channels, step, top, left, [&](int r, int s, const float* pixel) { pixels[r][s] = pixel; });
      float* const to = values + (tile - first) * stride + plane * channels;
      for (int64_t c = 0; c < channels; c += 8)
        transformTile([&](int r, int s) { return pixels[r][s] ? load<Float8>(pixels[r][s] + c) : Float8{}; },
                      [&](int i, Float8 v) { store<Float8>(to + i * rows * stride + c, v); });
    }
  }
}

inline Float8 broadcast(float x) { return Float8{x, x, x, x, x, x, x, x}; }

// sums[6, 16] = a[6, depth] b[depth, 16], in parts of the depth: the fewer terms a running sum has, the less rounding loses.
// a's element (r, c) lies at r * rowStep + c * depthStep.
inline void multiply(const float* a, int64_t rowStep, int64_t depthStep, const float* b, int64_t depth, float* sums, int64_t width) {
  for (int64_t from = 0; from < depth; from += kDepth) {
    const int64_t part = std::min(kDepth, depth - from);
    Float8 s[kRows][2] = {};
#pragma GCC unroll 4
    for (int64_t c = 0; c < part; c++) {
      const Float8 b0 = load<Float8>(b + c * kColumns), b1 = load<Float8>(b + c * kColumns + 8);
#pragma GCC unroll 6
      for (int64_t r = 0; r < kRows; r++) {
        const Float8 v = broadcast(a[r * rowStep + c * depthStep]);
        s[r][0] += v * b0;
        s[r][1] += v * b1;
      }
    }
#pragma GCC unroll 6
    for (int64_t r = 0; r < kRows; r++)
      for (int64_t half = 0; half < 2; half++) {
        float* const sum = sums + r * width + 8 * half;
        store<Float8>(sum, from == 0 ? s[r][half] : load<Float8>(sum) + s[r][half]);
      }
    a += part * depthStep;
    b += part * kColumns;
  }
}

}  // namespace onestep::winograd
