// What the fused operations share: TensorFlow's C handles, vectors of channels, sigmoid, the thread pool.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#ifdef __AVX__
#include <immintrin.h>
#endif

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace onestep {

// ---------------------------------------------------------------------------------------------------------------------
// Vectors. The kernels are templates over V: eight channels at once, or one (float) for what is left over.

typedef float Float8 __attribute__((vector_size(32)));
typedef uint32_t Uint8 __attribute__((vector_size(32)));

template <class V> struct Bits;
template <> struct Bits<Float8> { using type = Uint8; };
template <> struct Bits<float> { using type = uint32_t; };

template <class V> constexpr int width = sizeof(V) / sizeof(float);

template <class V> inline V load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V> inline void store(float* p, V v) { std::memcpy(p, &v, sizeof v); }

template <class To, class From> inline To reinterpret(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// Two vectors that take each step together: the steps of one hide the latency of the other's.
struct Float16 {
  Float8 low, high;
};
#define ONESTEP_OPERATOR(op)                                                                                              \
  inline Float16 operator op(Float16 a, Float16 b) { return {a.low op b.low, a.high op b.high}; }                         \
  inline Float16 operator op(Float16 a, float b) { return {a.low op b, a.high op b}; }                                    \
  inline Float16 operator op(float a, Float16 b) { return {a op b.low, a op b.high}; }
ONESTEP_OPERATOR(+)
ONESTEP_OPERATOR(-)
ONESTEP_OPERATOR(*)
ONESTEP_OPERATOR(/)
#undef ONESTEP_OPERATOR
template <> inline Float16 load<Float16>(const float* p) { return {load<Float8>(p), load<Float8>(p + 8)}; }
template <> inline void store<Float16>(float* p, Float16 v) {
  store<Float8>(p, v.low);
  store<Float8>(p + 8, v.high);
}
inline Float16& operator+=(Float16& a, Float16 b) { return a = a + b; }

// x between low and high; NaN stays NaN.
inline float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}
inline Float8 clamp(Float8 x, float low, float high) {
  const Float8 least = Float8{} + low, most = Float8{} + high;
#ifdef __AVX__
  // One instruction each, which gives the second operand where one is NaN.
  return _mm256_min_ps(most, _mm256_max_ps(least, x));
#else
  x = x < least ? least : x;
  return x > most ? most : x;
#endif
}
inline Float16 clamp(Float16 x, float low, float high) { return {clamp(x.low, low, high), clamp(x.high, low, high)}; }

// The float whose exponent field is the lowest bits of x.
template <class V> inline V exponentOf(V x) { return reinterpret<V>(reinterpret<typename Bits<V>::type>(x) << 23); }
template <> inline Float16 exponentOf(Float16 x) { return {exponentOf(x.low), exponentOf(x.high)}; }

// e^x, of -x where `negative`, relative error below 1e-7 where the result is a normal number: 2^n e^r, e^r by a minimax
// polynomial for |r| < ln(2) / 2. NaN gives NaN, above 88.4 infinity, below -87.3 the least normal number.
template <class V, bool negative = false> inline V exponential(V x) {
  constexpr float sign = negative ? -1.0f : 1.0f;
  x = negative ? clamp(x, -88.8f, 87.33f) : clamp(x, -87.33f, 88.8f);
  // Adding 1.5 2^23 leaves the rounded value in the lowest bits, here with the exponent's bias.
  constexpr float rounder = 12582912.0f + 127.0f;
  const V shifted = x * (sign * 1.44269504f) + rounder;
  const V n = shifted - rounder;
  const V r = (x - n * (sign * 0.693359375f)) + n * (sign * 2.12194440e-4f);
  V p = r * 1.38436536e-3f + sign * 8.37415569e-3f;
  p = p * r + 4.16680001e-2f;
  p = p * r + sign * 1.6666431e-1f;
  p = p * r + 4.99999938e-1f;
  p = p * r + sign;
  p = p * r + 1.0f;
  return p * exponentOf<V>(shifted);
}

template <class V> inline V sigmoid(V z) { return 1.0f / (1.0f + exponential<V, true>(z)); }

// z sigmoid(z), with one rounding less.
template <class V> inline V silu(V z) { return z / (1.0f + exponential<V, true>(z)); }

// Calls body(first channel, type tag) for each vector of eight channels, then for each channel left over.
template <class Body> inline void forChannels(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + width<Float8> <= channels; c += width<Float8>) body(c, Float8{});
  for (; c < channels; c++) body(c, 0.0f);
}

// Pixels, or rows, that are worked on together: few enough for the first cache and for sums in float, enough that what
// is constant for a channel is loaded rarely.
constexpr int64_t kBlock = 64;

// The same with sixteen channels at once first: a line of the cache.
template <class Body> inline void forLines(int64_t channels, Body body) {
  const int64_t lines = channels / 16 * 16;
  for (int64_t c = 0; c < lines; c += 16) body(c, Float16{});
  forChannels(channels - lines, [&](int64_t c, auto tag) { body(lines + c, tag); });
}

// Calls body(first, end) for each block of rows in [begin, end).
template <class Body> inline void forBlocks(int64_t begin, int64_t end, Body body) {
  for (int64_t from = begin; from < end; from += kBlock) body(from, from + kBlock < end ? from + kBlock : end);
}

// Adds the lanes of a vector of channels to sums in double.
template <class V> inline void addTo(double* sums, V v) {
  float lanes[width<V>];
  store<V>(lanes, v);
  for (int i = 0; i < width<V>; i++) sums[i] += lanes[i];
}

// sums[c] += the sum over pixels of term(x, channel), added up in float over blocks.
template <class Term> inline void sumOverPixels(const float* x, int64_t N, int64_t C, double* sums, Term term) {
  forBlocks(0, N, [&](int64_t from, int64_t to) {
    // Four vectors at once: their additions do not wait for one another.
    int64_t done = 0;
    constexpr int K = 4, W = width<Float8>;
    for (; done + K * W <= C; done += K * W) {
      Float8 sum[K] = {};
      for (int64_t n = from; n < to; n++)
        for (int k = 0; k < K; k++) sum[k] += term(load<Float8>(x + n * C + done + k * W), done + k * W);
      for (int k = 0; k < K; k++) addTo<Float8>(sums + done + k * W, sum[k]);
    }
    forChannels(C - done, [&](int64_t rest, auto tag) {
      using V = decltype(tag);
      const int64_t c = done + rest;
      V sum{};
      for (int64_t n = from; n < to; n++) sum += term(load<V>(x + n * C + c), c);
      addTo<V>(sums + c, sum);
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Threads

void setThreads(int threads);
int threads();

// Runs body(i) for i in [0, count) on the pool and on the calling thread; serially where `work`, in elements, is little.
void parallelFor(int64_t count, int64_t work, const std::function<void(int64_t)>& body);

// ---------------------------------------------------------------------------------------------------------------------
// TensorFlow

struct Status {
  TF_Status* raw = TF_NewStatus();
  ~Status() { TF_DeleteStatus(raw); }
  bool ok() const { return TF_GetCode(raw) == TF_OK; }
};

struct Tensor {
  TF_Tensor* raw = nullptr;
  Tensor() = default;
  Tensor(Tensor&& other) noexcept : raw(other.raw) { other.raw = nullptr; }
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(raw, other.raw);
    return *this;
  }
  ~Tensor() { if (raw) TF_DeleteTensor(raw); }
  float* data() const { return static_cast<float*>(TF_TensorData(raw)); }
  int64_t size() const { return TF_TensorElementCount(raw); }
  std::vector<int64_t> shape() const;
};

std::string describe(const std::vector<int64_t>& shape);

// The inputs and outputs of one call. After a failure everything is a no-op and `ok` is false.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context) {}
  Tensor input(int index);
  // An output of this shape, uninitialized.
  Tensor output(int index, const std::vector<int64_t>& shape);
  // Fails with the message unless the condition holds.
  bool expect(bool condition, const std::string& message);
  bool ok() const { return ok_; }

 private:
  TF_OpKernelContext* context_;
  bool ok_ = true;
};

struct Construction {
  TF_OpKernelConstruction* raw;
  int64_t integer(const char* name) const;
  std::vector<int64_t> integers(const char* name) const;
  float number(const char* name) const;
  bool flag(const char* name) const;
};

// Registers an operation and its kernel on the processor. Specifications are those of TensorFlow, such as "x: float".
std::string registerOperation(const char* name, const std::vector<const char*>& attributes,
                              const std::vector<const char*>& inputs, const std::vector<const char*>& outputs,
                              void* (*create)(TF_OpKernelConstruction*), void (*compute)(void*, TF_OpKernelContext*),
                              void (*destroy)(void*));

// Each returns what went wrong; empty: nothing.
std::string registerGroupNorm();
std::string registerResidual();
std::string registerAdam();
std::string registerBiasActivation();
std::string registerDepthwise();
std::string registerMaxPool();
std::string registerGelu();
std::string registerLayerNorm();
std::string registerResample();
std::string registerBatchNorm();
std::string registerWinograd();
std::string registerWinogradFilter();
std::string registerPointwise();
std::string registerAttention();
std::string registerReshape();
std::string registerFlatten();
std::string registerChannels();
std::string registerSpectralNorm();
std::string registerMovingAverage();

}  // namespace onestep
