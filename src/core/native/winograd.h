// Convolutions by Winograd's minimal filtering (Lavin and Gray 2015, arXiv 1509.09308), for the two kinds of which the
// networks consist, each with a frame of one zero:
//
//   3x3, stride 1   M = 4: 4x4 results of a 3x3 filter out of tiles of 6x6, F(4x4, 3x3); 36 multiplications for 144
//                   M = 2: 2x2 results out of tiles of 4x4, F(2x2, 3x3); 16 for 36, for images that 4x4 does not divide well
//   4x4, stride 2   M = 3: one of four planes of every second pixel, 3x3 results of a 2x2 filter, F(3x3, 2x2); 16 for 36
//
//   y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//
// Tiles of 4x4 take the points 0, 1, -1 and infinity. Tiles of 6x6 take 0, ±5/8, ±3/2 and infinity, which lose least to
// rounding: 8e-7 of the results' norm at 64 channels, 1.7e-6 with the usual ±1 and ±2. A gradient for the filter exchanges
// the roles of y and g.
#pragma once

#include "products.h"

namespace onestep::winograd {

constexpr int64_t kPanels = 4;               // micro-kernels side by side before their sums are transformed back
constexpr int64_t kPadding = 16;             // keeps rows of 2^n channels out of the same lines of the cache

// The kind of convolution by the width of its tiles' results.
template <int M> struct Kind {
  static constexpr int64_t kStep = M == 3 ? 2 : 1;           // stride
  static constexpr int64_t kTaps = M == 3 ? 2 : 3;           // of a plane's filter, a side
  static constexpr int64_t kTile = M + kTaps - 1;            // a side
  static constexpr int64_t kValues = kTile * kTile;          // of a transformed tile
  static constexpr int64_t kSide = kStep * kTaps;            // of the whole filter
  static constexpr int64_t kPlanes = kStep * kStep;
  // Which tap of the whole filter is tap r of the plane that begins at pixel `parity`.
  static constexpr int64_t tap(int64_t parity, int64_t r) { return kStep == 1 ? r : 2 * r + 1 - parity; }
};

// The width of tiles' results at stride 1: the one whose tiles take fewer multiplications; the smaller where few tiles of an
// image share large filters, whose transform costs what 20 to 40 tiles do. Never depends on the batch: nor do values then.
inline int64_t resultsOf(int64_t height, int64_t width, int64_t C, int64_t K) {
  const auto tiles = [=](int64_t M) { return ((height + M - 1) / M) * ((width + M - 1) / M); };
  const bool fewer = tiles(4) * Kind<4>::kValues < tiles(2) * Kind<2>::kValues;
  return fewer && (tiles(4) > 4 || C * K < 256 * 256) ? 4 : 2;
}

// Tiles over images of which every `step`-th pixel makes a plane; the tiles' results touch.
struct Tiles {
  int64_t batch, height, width, channels, step, down, across;
  int64_t count() const { return batch * down * across; }
};

// The transforms of a line of a tile of T values.

constexpr float kA = 0.625f, kB = 1.5f, kAA = kA * kA, kBB = kB * kB;

// G g: N taps to T.
template <int T, int N> inline void expandLine(const Float8* g, Float8* out) {
  out[T - 1] = g[N - 1];
  if constexpr (T == 4) {
    out[0] = g[0];
    const Float8 even = N == 3 ? 0.5f * (g[0] + g[2]) : 0.5f * g[0], odd = 0.5f * g[1];
    out[1] = even + odd;
    out[2] = even - odd;
  } else {
    constexpr float a = 0.5f / (kAA * (kAA - kBB)), b = 0.5f / (kBB * (kBB - kAA));
    out[0] = g[0] * (1.0f / (kAA * kBB));
    Float8 oddA = g[1] * (kA * a), oddB = g[1] * (kB * b);
    if constexpr (N == 4) {
      oddA += g[3] * (kA * kAA * a);
      oddB += g[3] * (kB * kBB * b);
    }
    const Float8 evenA = g[0] * a + g[2] * (kAA * a), evenB = g[0] * b + g[2] * (kBB * b);
    out[1] = evenA + oddA;
    out[2] = evenA - oddA;
    out[3] = evenB + oddB;
    out[4] = evenB - oddB;
  }
}

// Aᵀ m: T values to N.
template <int T, int N> inline void contractLine(const Float8* m, Float8* out) {
  const Float8 sum = m[1] + m[2], difference = m[1] - m[2];
  if constexpr (T == 4) {
    out[0] = m[0] + sum;
    out[1] = N == 2 ? difference - m[3] : difference;
    if constexpr (N == 3) out[2] = sum - m[3];
  } else {
    const Float8 sumB = m[3] + m[4], differenceB = m[3] - m[4];
    out[0] = m[0] + sum + sumB;
    out[1] = difference * kA + differenceB * kB;
    out[2] = sum * kAA + sumB * kBB;
    if constexpr (N == 4) out[3] = difference * (kA * kAA) + differenceB * (kB * kBB);
    out[N - 1] += m[5];
  }
}

// Bᵀ d: T values to as many.
template <int T> inline void transformLine(const Float8* d, Float8* out) {
  if constexpr (T == 4) {
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
  } else {
    const Float8 evenA = d[4] - d[2] * kBB, oddA = (d[3] - d[1] * kBB) * kA;
    const Float8 evenB = d[4] - d[2] * kAA, oddB = (d[3] - d[1] * kAA) * kB;
    out[0] = d[0] * (kAA * kBB) + (d[4] - d[2] * (kAA + kBB));
    out[1] = evenA + oddA;
    out[2] = evenA - oddA;
    out[3] = evenB + oddB;
    out[4] = evenB - oddB;
    out[5] = d[1] * (kAA * kBB) + (d[5] - d[3] * (kAA + kBB));
  }
}

// G g Gᵀ: N x N values, one vector of channels each, to T x T.
template <int T, int N, class Get, class Put> inline void expand(Get get, Put put) {
  Float8 lines[T][N], in[N], out[T];
  for (int s = 0; s < N; s++) {
    for (int r = 0; r < N; r++) in[r] = get(r, s);
    expandLine<T, N>(in, out);
    for (int i = 0; i < T; i++) lines[i][s] = out[i];
  }
  for (int i = 0; i < T; i++) {
    expandLine<T, N>(lines[i], out);
    for (int j = 0; j < T; j++) put(T * i + j, out[j]);
  }
}

// Aᵀ m A: T x T values to N x N.
template <int T, int N, class Get, class Put> inline void contract(Get get, Put put) {
  Float8 lines[N][T], in[T], out[N];
  for (int s = 0; s < T; s++) {
    for (int r = 0; r < T; r++) in[r] = get(T * r + s);
    contractLine<T, N>(in, out);
    for (int i = 0; i < N; i++) lines[i][s] = out[i];
  }
  for (int i = 0; i < N; i++) {
    contractLine<T, N>(lines[i], out);
    for (int j = 0; j < N; j++) put(i, j, out[j]);
  }
}

// Bᵀ d B: T x T values to as many.
template <int T, class Get, class Put> inline void transformTile(Get get, Put put) {
  Float8 lines[T][T], in[T], out[T];
  for (int s = 0; s < T; s++) {
    for (int r = 0; r < T; r++) in[r] = get(r, s);
    transformLine<T>(in, out);
    for (int i = 0; i < T; i++) lines[i][s] = out[i];
  }
  for (int i = 0; i < T; i++) {
    transformLine<T>(lines[i], out);
    for (int j = 0; j < T; j++) put(T * i + j, out[j]);
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

// Asks for the pixels of a tile before they are needed: rows of an image lie too far apart for the processor to guess.
template <int M> inline void fetchAhead(const Tiles& tiles, int64_t tile, int64_t last, const float* x) {
  if (tile >= last) return;
  const auto [batch, height, width, channels, step, down, across] = tiles;
  const int64_t side = step * M, top = tile / across % down * side, left = tile % across * side;
  const float* const image = x + tile / (across * down) * height * width * channels;
  const int64_t end = std::min(width, left + side + 1) * channels;
  for (int64_t row = top; row < std::min(height, top + side + 1); row++)
    for (int64_t at = left * channels; at < end; at += 16) __builtin_prefetch(image + row * width * channels + at);
}

// Tiles [first, last) of x to values [kValues, rows, stride], a tile's planes one after the other in its row.
template <int M> void transformTiles(const Tiles& tiles, int64_t first, int64_t last, const float* x, float* values, int64_t rows, int64_t stride) {
  constexpr int kTile = Kind<M>::kTile;
  const auto [batch, height, width, channels, step, down, across] = tiles;
  for (int64_t tile = first; tile < last; tile++) {
    const int64_t column = tile % across * M, row = tile / across % down * M;
    const float* const image = x + tile / (across * down) * height * width * channels;
    fetchAhead<M>(tiles, tile + 1, last, x);
    for (int64_t plane = 0; plane < step * step; plane++) {
      const int64_t odd[2] = {plane / step, plane % step};
      const int64_t top = step == 1 ? row - 1 : 2 * (row - odd[0]) + odd[0], left = step == 1 ? column - 1 : 2 * (column - odd[1]) + odd[1];
      const float* pixels[kTile][kTile];
      gather<kTile>(image, height, width, channels, step, top, left, [&](int r, int s, const float* pixel) { pixels[r][s] = pixel; });
      float* const to = values + (tile - first) * stride + plane * channels;
      for (int64_t c = 0; c < channels; c += 8)
        transformTile<kTile>([&](int r, int s) { return pixels[r][s] ? load<Float8>(pixels[r][s] + c) : Float8{}; },
                      [&](int i, Float8 v) { store<Float8>(to + i * rows * stride + c, v); });
    }
  }
}

}  // namespace onestep::winograd
