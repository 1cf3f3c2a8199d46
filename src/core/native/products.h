// Products of matrices by a micro-kernel of 6 rows and 16 columns, for convolutions that come to them.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "fused-ops.h"

namespace onestep {

constexpr int64_t kRows = 6, kColumns = 16;  // of the micro-kernel: 12 sums of eight lanes, which registers hold
constexpr int64_t kDepth = 128;              // terms that are summed before they join the total

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

inline Float8 broadcast(float x) { return Float8{x, x, x, x, x, x, x, x}; }

// sums[6, 16] = a[6, depth] b[depth, 16], or more by it where `add`, in parts of the depth: the fewer terms a running sum has,
// the less rounding loses. a's element (r, c) lies at r * rowStep + c * depthStep.
inline void multiply(const float* a, int64_t rowStep, int64_t depthStep, const float* b, int64_t depth, float* sums, int64_t width,
                     bool add = false) {
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
        store<Float8>(sum, from == 0 && !add ? s[r][half] : load<Float8>(sum) + s[r][half]);
      }
    a += part * depthStep;
    b += part * kColumns;
  }
}

}  // namespace onestep
