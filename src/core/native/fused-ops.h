// What the fused operations share: TensorFlow's C handles, vectors of channels, sigmoid, the thread pool.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

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

// e^x, relative error below 2e-7 where the result is a normal number: 2^n e^r with the polynomial of Cephes' expf.
// NaN gives NaN, above 88.4 infinity, below -87.3 the least normal number.
template <class V> inline V exponential(V x) {
  const V low = V{} - 87.33f, high = V{} + 88.8f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  // Adding 1.5 2^23 leaves the rounded value in the lowest bits.
  const V rounder = V{} + 12582912.0f;
  const V shifted = x * 1.44269504f + rounder;
  const V n = shifted - rounder;
  const V r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  using B = typename Bits<V>::type;
  return p * reinterpret<V>((reinterpret<B>(shifted) << 23) + (127u << 23));
}

template <class V> inline V sigmoid(V z) { return 1.0f / (1.0f + exponential<V>(-z)); }

// Calls body(first channel, type tag) for each vector of eight channels, then for each channel left over.
template <class Body> inline void forChannels(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + width<Float8> <= channels; c += width<Float8>) body(c, Float8{});
  for (; c < channels; c++) body(c, 0.0f);
}

// Pixels, or rows, that are worked on together: few enough for the first cache and for sums in float, enough that what
// is constant for a channel is loaded rarely.
constexpr int64_t kBlock = 64;

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
std::string registerSpectralNorm();

}  // namespace onestep
