// Concatenation along an axis, a part of an axis, and sums over axes that lie together: row by row, without the general
// strides of TensorFlow's own, which take several times as long for rows of few channels.
#include <algorithm>

#include "fused-ops.h"

namespace onestep {
namespace {

// Rows which one task works on. A constant: sums do not depend on the number of threads.
constexpr int64_t kRows = 512;

int64_t product(const std::vector<int64_t>& shape, size_t begin, size_t end) {
  int64_t size = 1;
  for (size_t i = begin; i < end; i++) size *= shape[i];
  return size;
}

// Rows of `width` values each from one place of a matrix to another.
void copyRows(const float* from, int64_t fromStride, float* to, int64_t toStride, int64_t width, int64_t rows) {
  if (width > 256) {
    for (int64_t row = 0; row < rows; row++)
      std::memcpy(to + row * toStride, from + row * fromStride, static_cast<size_t>(width) * sizeof(float));
    return;
  }
  for (int64_t row = 0; row < rows; row++)
    forLines(width, [&](int64_t i, auto tag) {
      using V = decltype(tag);
      store<V>(to + row * toStride + i, load<V>(from + row * fromStride + i));
    });
}

// Calls body(first row, end) for tasks of the rows, in parallel.
template <class Body> void forTasks(int64_t rows, int64_t width, Body body) {
  // Where rows are long, a few are enough for a task.
  const int64_t step = std::clamp<int64_t>(kRows * 32 / std::max<int64_t>(width, 1), 1, kRows);
  parallelFor((rows + step - 1) / step, rows * width, [&](int64_t task) { body(task * step, std::min(rows, (task + 1) * step)); });
}

// ---------------------------------------------------------------------------------------------------------------------
// Concatenation

struct Join {
  int64_t axis, count;
};
void* createJoin(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Join{c.integer("axis"), c.integer("N")};
}
void destroyJoin(void* join) { delete static_cast<Join*>(join); }

void join(void* raw, TF_OpKernelContext* context) {
  const auto [axis, count] = *static_cast<Join*>(raw);
  Call call(context);
  std::vector<Tensor> parts;
  std::vector<int64_t> shape;
  for (int64_t i = 0; i < count; i++) {
    parts.push_back(call.input(static_cast<int>(i)));
    if (!call.ok()) return;
    auto part = parts.back().shape();
    const std::string where = "OnestepConcat: part " + std::to_string(i) + " " + describe(part) + ": ";
    if (!call.expect(axis >= 0 && axis < static_cast<int64_t>(part.size()), where + "expected an axis " + std::to_string(axis))) return;
    if (i == 0) {
      shape = part;
      continue;
    }
    const int64_t length = part.size() == shape.size() ? part[axis] : 0;
    if (part.size() == shape.size()) part[axis] = shape[axis];
    if (!call.expect(part == shape, where + "expected the first part's shape but for axis " + std::to_string(axis))) return;
    shape[axis] += length;
  }
  const Tensor y = call.output(0, shape);
  if (!call.ok() || y.size() == 0) return;
  const int64_t rows = product(shape, 0, axis), width = product(shape, axis, shape.size());
  float* const to = y.data();
  forTasks(rows, width, [&](int64_t first, int64_t end) {
    int64_t at = 0;
    for (const Tensor& part : parts) {
      const int64_t own = part.size() / rows;
      copyRows(part.data() + first * own, own, to + first * width + at, width, own, end - first);
      at += own;
    }
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// A part of an axis

struct Part {
  int64_t axis, begin, size;
};
void* createPart(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Part{c.integer("axis"), c.integer("begin"), c.integer("size")};
}
void destroyPart(void* part) { delete static_cast<Part*>(part); }

void part(void* raw, TF_OpKernelContext* context) {
  const auto [axis, begin, size] = *static_cast<Part*>(raw);
  Call call(context);
  const Tensor x = call.input(0);
  if (!call.ok()) return;
  auto shape = x.shape();
  const bool there = axis >= 0 && axis < static_cast<int64_t>(shape.size());
  call.expect(there && begin >= 0 && size >= 0 && begin + size <= shape[axis],
              "OnestepSlice: x " + describe(shape) + ": expected an axis " + std::to_string(axis) + " of " + std::to_string(begin + size) +
                  " or more");
  if (!call.ok()) return;
  const int64_t rows = product(shape, 0, axis), width = product(shape, axis, shape.size()), inner = product(shape, axis + 1, shape.size());
  shape[axis] = size;
  const Tensor y = call.output(0, shape);
  if (!call.ok() || y.size() == 0) return;
  const float* const from = x.data() + begin * inner;
  float* const to = y.data();
  const int64_t own = size * inner;
  forTasks(rows, own, [&](int64_t first, int64_t end) { copyRows(from + first * width, width, to + first * own, own, own, end - first); });
}

// ---------------------------------------------------------------------------------------------------------------------
// Sums

struct Reduction {
  int64_t first, last;
};
void* createReduction(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Reduction{c.integer("first"), c.integer("last")};
}
void destroyReduction(void* reduction) { delete static_cast<Reduction*>(reduction); }

void sum(void* raw, TF_OpKernelContext* context) {
  const auto [first, last] = *static_cast<Reduction*>(raw);
  Call call(context);
  const Tensor x = call.input(0);
  if (!call.ok()) return;
  const auto shape = x.shape();
  const int64_t rank = static_cast<int64_t>(shape.size());
  if (!call.expect(first >= 0 && first <= last && last < rank, "OnestepSum: x " + describe(shape) + ": expected axes " + std::to_string(first) +
                                                                   " to " + std::to_string(last)))
    return;
  std::vector<int64_t> left(shape.begin(), shape.begin() + first);
  left.insert(left.end(), shape.begin() + last + 1, shape.end());
  const int64_t outer = product(shape, 0, first), N = product(shape, first, last + 1), C = product(shape, last + 1, shape.size());
  const Tensor y = call.output(0, left);
  if (!call.ok() || y.size() == 0) return;
  const int64_t each = (N + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<size_t>(outer * each * C), 0.0);
  const float* const from = x.data();
  parallelFor(outer * each, x.size(), [&](int64_t task) {
    const int64_t begin = task % each * kRows;
    sumOverPixels(from + (task / each * N + begin) * C, std::min(kRows, N - begin), C, sums.data() + task * C, [](auto v, int64_t) { return v; });
  });
  float* const to = y.data();
  for (int64_t i = 0; i < outer; i++) {
    double* const total = sums.data() + i * each * C;
    for (int64_t task = 1; task < each; task++)
      for (int64_t c = 0; c < C; c++) total[c] += total[task * C + c];
    // No pixels: the sum is zero.
    for (int64_t c = 0; c < C; c++) to[i * C + c] = each == 0 ? 0.0f : static_cast<float>(total[c]);
  }
}

}  // namespace

std::string registerChannels() {
  std::string problem = registerOperation("OnestepConcat", {"axis: int", "N: int >= 1"}, {"parts: N * float"}, {"y: float"}, createJoin, join,
                                          destroyJoin);
  if (problem.empty())
    problem = registerOperation("OnestepSlice", {"axis: int", "begin: int", "size: int"}, {"x: float"}, {"y: float"}, createPart, part,
                                destroyPart);
  if (problem.empty())
    problem = registerOperation("OnestepSum", {"first: int", "last: int"}, {"x: float"}, {"y: float"}, createReduction, sum, destroyReduction);
  return problem;
}

}  // namespace onestep
