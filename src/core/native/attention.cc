// Scaled dot-product attention of positions with themselves (Vaswani et al. 2017), its gradient and the derivative along given
// directions, which is the gradient's gradient for dy, without the matrix of positions by positions in memory (Rabe & Staats 2021, arXiv 2112.05682; Dao et al. 2022, arXiv 2205.14135):
//
//   y = softmax(scale q kᵀ) v, for each image and head
//
// Queries and keys are worked on in blocks. A row keeps its greatest score and the sum of its exponentials, which the
// gradient needs to compute a block of probabilities again. Blocks follow from the sizes of one image: what an image gives
// depends on no other image, and on no number of threads.
#include <atomic>
#include <cmath>
#include <limits>

#include "products.h"

namespace onestep {
namespace {

constexpr int64_t kQueries = 96, kKeys = 128;  // of a block: its scores stay in the second cache
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// ---------------------------------------------------------------------------------------------------------------------
// Matrices

// Blocks of nearly the same length, at most `most`.
int64_t blockOf(int64_t length, int64_t most, int64_t unit) {
  const int64_t blocks = (length + most - 1) / most;
  return std::min(most, roundUp((length + blocks - 1) / blocks, unit));
}

// From row to row of a matrix of so many columns: an odd number of lines of the cache, which spreads rows over all of it.
int64_t strideOf(int64_t columns) { return ((columns + 15) / 16 | 1) * 16; }

template <class T> struct Rows {
  T* data;
  int64_t stride;
  Rows from(int64_t row) const { return {data + row * stride, stride}; }
  operator Rows<const T>() const { return {data, stride}; }
};
using Matrix = Rows<float>;
using Source = Rows<const float>;

// out[6, 16] = a[6, depth] b[depth, 16], or that added. Where `turned`, a is stored as its transpose.
template <bool turned, bool added> inline void multiplyTile(Source a, Source b, int64_t depth, Matrix out) {
  Float8 s[kRows][2] = {};
#pragma GCC unroll 4
  for (int64_t c = 0; c < depth; c++) {
    const float* const row = b.data + c * b.stride;
    const Float8 b0 = load<Float8>(row), b1 = load<Float8>(row + 8);
    const float* const factors = a.data + (turned ? c * a.stride : c);
#pragma GCC unroll 6
    for (int64_t r = 0; r < kRows; r++) {
      const Float8 v = broadcast(factors[turned ? r : r * a.stride]);
      s[r][0] += v * b0;
      s[r][1] += v * b1;
    }
  }
#pragma GCC unroll 6
  for (int64_t r = 0; r < kRows; r++)
    for (int64_t half = 0; half < 2; half++) {
      float* const sum = out.data + r * out.stride + 8 * half;
      store<Float8>(sum, added ? load<Float8>(sum) + s[r][half] : s[r][half]);
    }
}

// out[rows, columns] = a[rows, depth] b[depth, columns], or that added. All have room for whole tiles; what those hold beyond
// rows and columns enters nothing within.
template <bool turned, bool added> void product(Source a, Source b, int64_t rows, int64_t columns, int64_t depth, Matrix out) {
  for (int64_t column = 0; column < columns; column += kColumns)
    for (int64_t row = 0; row < rows; row += kRows)
      multiplyTile<turned, added>({a.data + (turned ? row : row * a.stride), a.stride}, {b.data + column, b.stride}, depth,
                                  {out.data + row * out.stride + column, out.stride});
}

// to = from * factor
void copyRows(Source from, Matrix to, int64_t rows, int64_t columns, float factor) {
  for (int64_t row = 0; row < rows; row++)
    forChannels(columns, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      store<V>(to.data + row * to.stride + c, load<V>(from.data + row * from.stride + c) * factor);
    });
}

#ifdef __clang__
#define ONESTEP_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t Int8 __attribute__((vector_size(32)));
#define ONESTEP_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Int8{__VA_ARGS__})
#endif

inline void transposeTile(Source from, Matrix to) {
  Float8 pairs[8], fours[8];
  for (int i = 0; i < 4; i++) {
    const Float8 even = load<Float8>(from.data + 2 * i * from.stride), odd = load<Float8>(from.data + (2 * i + 1) * from.stride);
    pairs[2 * i] = ONESTEP_SHUFFLE(even, odd, 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[2 * i + 1] = ONESTEP_SHUFFLE(even, odd, 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int half = 0; half < 2; half++)
    for (int i = 0; i < 2; i++) {
      const Float8 low = pairs[4 * half + i], high = pairs[4 * half + 2 + i];
      fours[4 * half + 2 * i] = ONESTEP_SHUFFLE(low, high, 0, 1, 8, 9, 4, 5, 12, 13);
      fours[4 * half + 2 * i + 1] = ONESTEP_SHUFFLE(low, high, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    store<Float8>(to.data + i * to.stride, ONESTEP_SHUFFLE(fours[i], fours[4 + i], 0, 1, 2, 3, 8, 9, 10, 11));
    store<Float8>(to.data + (4 + i) * to.stride, ONESTEP_SHUFFLE(fours[i], fours[4 + i], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

// to[columns, rows] = fromᵀ
void transpose(Source from, Matrix to, int64_t rows, int64_t columns) {
  const int64_t whole = columns / 8 * 8;
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8) {
    for (int64_t c = 0; c < whole; c += 8) transposeTile({from.data + row * from.stride + c, from.stride}, {to.data + c * to.stride + row, to.stride});
    for (int64_t c = whole; c < columns; c++)
      for (int64_t i = row; i < row + 8; i++) to.data[c * to.stride + i] = from.data[i * from.stride + c];
  }
  for (; row < rows; row++)
    for (int64_t c = 0; c < columns; c++) to.data[c * to.stride + row] = from.data[row * from.stride + c];
}

// ---------------------------------------------------------------------------------------------------------------------
// Rows of scores

// e^x, zero where that is no normal number.
inline Float8 power(Float8 x) {
  const Float8 e = exponential<Float8>(x);
  return x < broadcast(-87.33f) ? Float8{} : e;
}

// The greatest score that is a number, and `least` at the least.
inline float greatest(const float* scores, int64_t keys, float least) {
  Float8 most = broadcast(least);
  for (int64_t j = 0; j < keys; j += 8) {
    const Float8 s = load<Float8>(scores + j);
    most = s > most ? s : most;
  }
  float result = least;
  for (int i = 0; i < 8; i++) result = most[i] > result ? most[i] : result;
  return result;
}

// What is taken from scores of which this is the greatest: where all are -infinity their powers are zero.
inline float offsetOf(float most) { return most == -kInfinity ? 0.0f : most; }

inline float sumOf(Float8 v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

// What a row of scores is told by: the number that is taken from them, and 1 over the sum of the powers.
struct Statistics {
  float offset, reciprocal;
};

// ---------------------------------------------------------------------------------------------------------------------
// What both operations work on

struct Attributes {
  int64_t heads, parts;
  float scale;
};

void* create(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Attributes{c.integer("heads"), c.integer("N"), c.number("scale")};
}

void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// Queries, keys and values: one tensor of all three's channels, or three tensors.
struct Inputs {
  Tensor tensors[3];
  int64_t B = 0, N = 0, C = 0, H = 0, D = 0, parts;
  std::vector<int64_t> shape;  // of the result

  Inputs(Call& call, const Attributes& attributes, const std::string& name, int first) : parts(attributes.parts) {
    if (!call.expect(parts == 1 || parts == 3, name + ": expected one tensor or three, got " + std::to_string(parts))) return;
    for (int i = 0; i < parts; i++) tensors[i] = call.input(first + i);
    if (!call.ok()) return;
    shape = tensors[0].shape();
    const std::string where = name + ": q " + describe(shape) + ": ";
    if (!call.expect(shape.size() >= 2 && (parts == 3 || shape.back() % 3 == 0), where + "expected [B, ..., C], or 3 C channels of queries, keys and values"))
      return;
    for (int i = 1; i < parts; i++)
      if (!call.expect(tensors[i].shape() == shape, where + "expected keys and values of this shape, got " + describe(tensors[i].shape()))) return;
    if (parts == 1) shape.back() /= 3;
    B = shape.front();
    C = shape.back();
    N = 1;
    for (size_t i = 1; i + 1 < shape.size(); i++) N *= shape[i];
    H = attributes.heads;
    if (!call.expect(H > 0 && C > 0 && C % H == 0, where + "expected channels that are a multiple of " + std::to_string(H) + " heads")) return;
    D = C / H;
  }

  int64_t stride() const { return parts == 1 ? 3 * C : C; }
  int64_t elements() const { return B * N * C; }
  // As much as a pass over so many elements.
  int64_t work() const { return elements() * N / 8; }
  // Where queries (0), keys (1) or values (2) of an image's head begin, in these tensors or in others that lie as they do.
  int64_t at(int part, int64_t image, int64_t head) const { return image * N * stride() + (parts == 1 ? part * C : 0) + head * D; }
  Source rows(int part, int64_t image, int64_t head) const {
    return {tensors[parts == 1 ? 0 : part].data() + at(part, image, head), stride()};
  }
  Source rows(const Tensor& result, int64_t image, int64_t head) const { return {result.data() + image * N * C + head * D, C}; }
};

// Refuses what is not of the shape of the result, or has not two statistics a row.
void expectResults(Call& call, const Inputs& in, const std::string& name, std::initializer_list<const Tensor*> results, const Tensor& statistics) {
  for (const Tensor* result : results)
    call.expect(result->shape() == in.shape, name + ": expected dy and y " + describe(in.shape) + ", got " + describe(result->shape()));
  call.expect(statistics.size() == in.B * in.H * in.N * 2, name + ": expected statistics of " + std::to_string(in.B * in.H * in.N) +
                                                               " rows, got " + describe(statistics.shape()));
}

// Calls body(image, head, first, last) for parts of the queries of every head; false where one has no memory.
template <class Body> bool forQueries(const Inputs& in, int64_t work, Body body) {
  // Every part gathers all of its head's keys and values: few parts.
  const int64_t heads = in.B * in.H, wanted = (2 * threads() + heads - 1) / heads;
  const int64_t part = blockOf(in.N, std::max(kQueries, roundUp((in.N + wanted - 1) / wanted, kRows)), kRows);
  const int64_t parts = (in.N + part - 1) / part;
  std::atomic<bool> fits{true};
  parallelFor(heads * parts, work, [&](int64_t i) {
    const int64_t head = i / parts, first = i % parts * part;
    if (!body(head / in.H, head % in.H, first, std::min(in.N, first + part))) fits = false;
  });
  return fits;
}

// Where parts of a thread's memory begin.
struct Layout {
  int64_t size = 0;
  int64_t take(int64_t rows, int64_t stride) {
    const int64_t begin = size;
    // Tiles may reach beyond the last row.
    size += roundUp(rows, kRows) * stride;
    return begin;
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// Forward

// Queries [first, last) of one head.
bool attend(const Inputs& in, float scale, int64_t image, int64_t head, int64_t first, int64_t last, float* y, Statistics* statistics) {
  const int64_t N = in.N, D = in.D, stride = strideOf(D);
  const int64_t queries = blockOf(last - first, kQueries, kRows), keys = blockOf(N, kKeys, kColumns), ofKeys = strideOf(N), ofScores = strideOf(keys);
  Layout layout;
  const int64_t atQuery = layout.take(queries, stride), atKey = layout.take(D, ofKeys), atValue = layout.take(N, stride);
  const int64_t atScore = layout.take(queries, ofScores), atSum = layout.take(queries, stride), atRows = layout.take(2 * queries, 1);
  thread_local Workspace workspace;
  float* const memory = workspace.reserve(layout.size);
  if (!memory) return false;
  const Matrix query{memory + atQuery, stride}, key{memory + atKey, ofKeys}, value{memory + atValue, stride}, score{memory + atScore, ofScores},
      sum{memory + atSum, stride};
  float *const most = memory + atRows, *const total = most + queries;

  transpose(in.rows(1, image, head), key, N, D);
  copyRows(in.rows(2, image, head), value, N, D, 1.0f);
  for (int64_t row = first; row < last; row += queries) {
    const int64_t rows = std::min(queries, last - row);
    copyRows(in.rows(0, image, head).from(row), query, rows, D, scale);
    for (int64_t from = 0; from < N; from += keys) {
      const int64_t count = std::min(keys, N - from);
      product<false, false>(query, {key.data + from, ofKeys}, rows, count, D, score);
      // Two passes over the rows: within one, a row would wait for its own greatest score.
      for (int64_t i = 0; i < rows; i++) {
        float* const s = score.data + i * ofScores;
        for (int64_t j = count; j < roundUp(count, 8); j++) s[j] = -kInfinity;
        const float before = from == 0 ? -kInfinity : most[i];
        most[i] = greatest(s, count, before);
        if (from == 0) continue;
        const float factor = power(broadcast(before - offsetOf(most[i])))[0];
        if (factor != 1.0f) copyRows(sum.from(i), sum.from(i), 1, D, factor);
        total[i] *= factor;
      }
      for (int64_t i = 0; i < rows; i++) {
        float* const s = score.data + i * ofScores;
        const float offset = offsetOf(most[i]);
        Float8 powers{};
        for (int64_t j = 0; j < count; j += 8) {
          const Float8 p = power(load<Float8>(s + j) - offset);
          powers += p;
          store<Float8>(s + j, p);
        }
        total[i] = from == 0 ? sumOf(powers) : total[i] + sumOf(powers);
      }
      (from == 0 ? product<false, false> : product<false, true>)(score, value.from(from), rows, D, count, sum);
    }
    for (int64_t i = 0; i < rows; i++) {
      const float reciprocal = 1.0f / total[i];
      copyRows(sum.from(i), {y + (image * N + row + i) * in.C + head * D, in.C}, 1, D, reciprocal);
      statistics[(image * in.H + head) * N + row + i] = {offsetOf(most[i]), reciprocal};
    }
  }
  return true;
}

void compute(void* raw, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const Inputs in(call, attributes, "OnestepAttention", 0);
  if (!call.ok()) return;
  const Tensor y = call.output(0, in.shape);
  const Tensor statistics = call.output(1, {in.B * in.H, in.N, 2});
  if (!call.ok() || in.elements() == 0) return;
  const bool fits = forQueries(in, in.work(), [&](int64_t image, int64_t head, int64_t first, int64_t last) {
    return attend(in, attributes.scale, image, head, first, last, y.data(), reinterpret_cast<Statistics*>(statistics.data()));
  });
  call.expect(fits, "OnestepAttention: out of memory");
}

// ---------------------------------------------------------------------------------------------------------------------
// Gradient, with p the probabilities and delta_i = dy_i . y_i, the sum over a row of p dp:
//
//   dv = pᵀ dy    dp = dy vᵀ    ds = p (dp - delta)    dq = scale ds k    dk = ds ᵀ (scale q)

struct Gradient {
  const Inputs& in;
  float scale;
  Tensor dy, y;
  const Statistics* statistics;
  Tensor out[3];

  int64_t stride() const { return strideOf(in.D); }
  int64_t keys() const { return blockOf(in.N, kKeys, kColumns); }
  Matrix rows(int part, int64_t image, int64_t head) const {
    return {out[in.parts == 1 ? 0 : part].data() + in.at(part, image, head), in.stride()};
  }

  bool add(int64_t image, int64_t head, int64_t first, int64_t last, float* separate) const;
};

// Of keys [first, last), whole blocks: dk and dv, and the sum of what they give to dq. That goes to `separate`, one [N, stride]
// a block, or, where that is null, into the result.
bool Gradient::add(int64_t image, int64_t head, int64_t first, int64_t last, float* separate) const {
  const int64_t N = in.N, D = in.D, width = stride(), most = keys();
  const int64_t queries = blockOf(N, kQueries, kRows), ofKeys = strideOf(most);
  Layout layout;
  const int64_t atQuery = layout.take(N, width), atDy = layout.take(N, width), atDelta = layout.take(N, 1);
  const int64_t atDq = separate ? 0 : layout.take(N, width);
  const int64_t atKey = layout.take(most, width), atTurned = layout.take(D, ofKeys), atValue = layout.take(D, ofKeys);
  const int64_t atDk = layout.take(most, width), atDv = layout.take(most, width);
  const int64_t atP = layout.take(queries, ofKeys), atDs = layout.take(queries, ofKeys);
  thread_local Workspace workspace;
  // Rows of p and ds are read beyond their end, in whole tiles.
  float* const memory = workspace.reserve(layout.size + kColumns);
  if (!memory) return false;
  const Matrix query{memory + atQuery, width}, slope{memory + atDy, width}, key{memory + atKey, width}, turned{memory + atTurned, ofKeys},
      value{memory + atValue, ofKeys}, dk{memory + atDk, width}, dv{memory + atDv, width}, p{memory + atP, ofKeys}, ds{memory + atDs, ofKeys};
  float* const delta = memory + atDelta;

  copyRows(in.rows(0, image, head), query, N, D, scale);
  copyRows(in.rows(dy, image, head), slope, N, D, 1.0f);
  const Source results = in.rows(y, image, head);
  for (int64_t i = 0; i < N; i++) {
    const float *const a = slope.data + i * width, *const b = results.data + i * results.stride;
    Float8 eights{};
    float rest = 0;
    forChannels(D, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      if constexpr (sizeof(V) == sizeof(Float8)) eights += load<V>(a + c) * load<V>(b + c);
      else rest += a[c] * b[c];
    });
    delta[i] = sumOf(eights) + rest;
  }

  for (int64_t from = first; from < last; from += most) {
    const int64_t count = std::min(most, last - from);
    const Matrix dq{separate ? separate + (from / most) * roundUp(N, kRows) * width : memory + atDq, width};
    copyRows(in.rows(1, image, head).from(from), key, count, D, 1.0f);
    transpose(key, turned, count, D);
    transpose(in.rows(2, image, head).from(from), value, count, D);
    for (int64_t row = 0; row < N; row += queries) {
      const int64_t rows = std::min(queries, N - row);
      product<false, false>(query.from(row), turned, rows, count, D, p);
      product<false, false>(slope.from(row), value, rows, count, D, ds);
      for (int64_t i = 0; i < rows; i++) {
        const Statistics of = statistics[(image * in.H + head) * N + row + i];
        float *const ps = p.data + i * ofKeys, *const dss = ds.data + i * ofKeys;
        for (int64_t j = 0; j < count; j += 8) {
          const Float8 probability = power(load<Float8>(ps + j) - of.offset) * of.reciprocal;
          store<Float8>(ps + j, probability);
          store<Float8>(dss + j, probability * (load<Float8>(dss + j) - delta[row + i]));
        }
      }
      const bool begun = row > 0;
      (begun ? product<true, true> : product<true, false>)(p, slope.from(row), count, D, rows, dv);
      (begun ? product<true, true> : product<true, false>)(ds, query.from(row), count, D, rows, dk);
      (!separate && from > first ? product<false, true> : product<false, false>)(ds, key, rows, D, count, dq.from(row));
    }
    copyRows(dk, rows(1, image, head).from(from), count, D, 1.0f);
    copyRows(dv, rows(2, image, head).from(from), count, D, 1.0f);
  }
  if (!separate) copyRows({memory + atDq, width}, rows(0, image, head), N, D, scale);
  return true;
}

void computeGradient(void* raw, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const std::string name = "OnestepAttentionGrad";
  const Inputs in(call, attributes, name, 3);
  Gradient gradient{in, attributes.scale, call.input(0), call.input(1), nullptr, {}};
  const Tensor statistics = call.input(2);
  if (!call.ok()) return;
  expectResults(call, in, name, {&gradient.dy, &gradient.y}, statistics);
  for (int i = 0; i < in.parts && call.ok(); i++) gradient.out[i] = call.output(i, in.tensors[i].shape());
  if (!call.ok() || in.elements() == 0) return;
  gradient.statistics = reinterpret_cast<const Statistics*>(statistics.data());

  const int64_t heads = in.B * in.H, keys = gradient.keys(), blocks = (in.N + keys - 1) / keys, work = 2 * in.work();
  std::atomic<bool> fits{true};
  if (heads >= 2 * threads() || threads() == 1 || blocks == 1) {
    parallelFor(heads, work, [&](int64_t i) {
      if (!gradient.add(i / in.H, i % in.H, 0, in.N, nullptr)) fits = false;
    });
    call.expect(fits, name + ": out of memory");
    return;
  }
  // Few heads: their blocks of keys at once, and then the sum over them of what they give to dq, in the same order as above.
  const int64_t width = gradient.stride(), size = roundUp(in.N, kRows) * width;
  Workspace workspace;
  float* const separate = workspace.reserve(heads * blocks * size);
  if (!call.expect(separate != nullptr, name + ": out of memory")) return;
  parallelFor(heads * blocks, work, [&](int64_t i) {
    const int64_t head = i / blocks, from = i % blocks * keys;
    if (!gradient.add(head / in.H, head % in.H, from, std::min(in.N, from + keys), separate + head * blocks * size)) fits = false;
  });
  if (!call.expect(fits, name + ": out of memory")) return;
  parallelFor(heads, heads * blocks * size, [&](int64_t head) {
    const float* const part = separate + head * blocks * size;
    const Matrix dq = gradient.rows(0, head / in.H, head % in.H);
    for (int64_t i = 0; i < in.N; i++)
      forChannels(in.D, [&](int64_t c, auto tag) {
        using V = decltype(tag);
        V sum = load<V>(part + i * width + c);
        for (int64_t block = 1; block < blocks; block++) sum += load<V>(part + block * size + i * width + c);
        store<V>(dq.data + i * dq.stride + c, sum * attributes.scale);
      });
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Derivative along dq, dk and dv: with ds = scale (dq kᵀ + q dkᵀ) and r_i the sum over a row of p ds,
//
//   dy = (p ds) v - r y + p dv

struct Tangent {
  const Inputs &in, &along;
  float scale;
  Tensor y;
  const Statistics* statistics;
  Tensor out;

  bool compute(int64_t image, int64_t head, int64_t first, int64_t last) const;
};

// Queries [first, last) of one head.
bool Tangent::compute(int64_t image, int64_t head, int64_t first, int64_t last) const {
  const int64_t N = in.N, D = in.D, width = strideOf(D);
  const int64_t queries = blockOf(last - first, kQueries, kRows), keys = blockOf(N, kKeys, kColumns), ofKeys = strideOf(N), ofScores = strideOf(keys);
  Layout layout;
  const int64_t atQuery = layout.take(queries, width), atDq = layout.take(queries, width), atKey = layout.take(D, ofKeys), atDk = layout.take(D, ofKeys);
  const int64_t atValue = layout.take(N, width), atDv = layout.take(N, width), atP = layout.take(queries, ofScores), atDs = layout.take(queries, ofScores);
  const int64_t atSum = layout.take(queries, width), atTotal = layout.take(queries, 1);
  thread_local Workspace workspace;
  float* const memory = workspace.reserve(layout.size);
  if (!memory) return false;
  const Matrix query{memory + atQuery, width}, dq{memory + atDq, width}, key{memory + atKey, ofKeys}, dk{memory + atDk, ofKeys},
      value{memory + atValue, width}, dv{memory + atDv, width}, p{memory + atP, ofScores}, ds{memory + atDs, ofScores}, sum{memory + atSum, width};
  float* const total = memory + atTotal;

  transpose(in.rows(1, image, head), key, N, D);
  transpose(along.rows(1, image, head), dk, N, D);
  copyRows(in.rows(2, image, head), value, N, D, 1.0f);
  copyRows(along.rows(2, image, head), dv, N, D, 1.0f);
  for (int64_t row = first; row < last; row += queries) {
    const int64_t rows = std::min(queries, last - row);
    copyRows(in.rows(0, image, head).from(row), query, rows, D, scale);
    copyRows(along.rows(0, image, head).from(row), dq, rows, D, scale);
    for (int64_t from = 0; from < N; from += keys) {
      const int64_t count = std::min(keys, N - from);
      product<false, false>(query, {key.data + from, ofKeys}, rows, count, D, p);
      product<false, false>(dq, {key.data + from, ofKeys}, rows, count, D, ds);
      product<false, true>(query, {dk.data + from, ofKeys}, rows, count, D, ds);
      for (int64_t i = 0; i < rows; i++) {
        const Statistics of = statistics[(image * in.H + head) * N + row + i];
        float *const ps = p.data + i * ofScores, *const dss = ds.data + i * ofScores;
        for (int64_t j = count; j < roundUp(count, 8); j++) ps[j] = -kInfinity, dss[j] = 0.0f;
        Float8 sums{};
        for (int64_t j = 0; j < count; j += 8) {
          const Float8 probability = power(load<Float8>(ps + j) - of.offset) * of.reciprocal;
          const Float8 change = probability * load<Float8>(dss + j);
          sums += change;
          store<Float8>(ps + j, probability);
          store<Float8>(dss + j, change);
        }
        total[i] = from == 0 ? sumOf(sums) : total[i] + sumOf(sums);
      }
      (from == 0 ? product<false, false> : product<false, true>)(ds, value.from(from), rows, D, count, sum);
      product<false, true>(p, dv.from(from), rows, D, count, sum);
    }
    const Source results = in.rows(y, image, head).from(row);
    float* const to = out.data() + (image * N + row) * in.C + head * D;
    for (int64_t i = 0; i < rows; i++)
      forChannels(D, [&](int64_t c, auto tag) {
        using V = decltype(tag);
        store<V>(to + i * in.C + c, load<V>(sum.data + i * width + c) - load<V>(results.data + i * results.stride + c) * total[i]);
      });
  }
  return true;
}

void computeTangent(void* raw, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const std::string name = "OnestepAttentionTangent";
  const Inputs along(call, attributes, name, 2);
  if (!call.ok()) return;
  const Inputs in(call, attributes, name, 2 + static_cast<int>(attributes.parts));
  Tangent tangent{in, along, attributes.scale, call.input(0), nullptr, {}};
  const Tensor statistics = call.input(1);
  if (!call.ok()) return;
  call.expect(along.shape == in.shape, name + ": expected directions of the shape of q, k and v");
  expectResults(call, in, name, {&tangent.y}, statistics);
  tangent.out = call.output(0, in.shape);
  if (!call.ok() || in.elements() == 0) return;
  tangent.statistics = reinterpret_cast<const Statistics*>(statistics.data());
  const bool fits = forQueries(in, 2 * in.work(), [&](int64_t image, int64_t head, int64_t first, int64_t last) {
    return tangent.compute(image, head, first, last);
  });
  call.expect(fits, name + ": out of memory");
}

}  // namespace

std::string registerAttention() {
  const std::vector<const char*> attributes = {"heads: int", "scale: float", "N: int >= 1"};
  std::string problem = registerOperation("OnestepAttention", attributes, {"qkv: N * float"}, {"y: float", "statistics: float"}, create,
                                          compute, destroy);
  if (problem.empty())
    problem = registerOperation("OnestepAttentionGrad", attributes, {"dy: float", "y: float", "statistics: float", "qkv: N * float"},
                                {"dqkv: N * float"}, create, computeGradient, destroy);
  if (problem.empty())
    problem = registerOperation("OnestepAttentionTangent", attributes, {"y: float", "statistics: float", "tangents: N * float", "qkv: N * float"},
                                {"dy: float"}, create, computeTangent, destroy);
  return problem;
}

}  // namespace onestep
