// Convolutions of 1x1 and their gradients: products of matrices whose rows are pixels.
//
// The value of a pixel does not depend on the batch around it, and sums do not depend on the number of threads.
#include "products.h"

#include <mutex>

namespace onestep {
namespace {

// Pixels of a task: with 256 channels they stay in the second cache beside a panel of the filter.
constexpr int64_t kTask = 16 * kRows;
// Parts of the pixels whose sums of a filter's gradient are made apart, and pixels of the least.
constexpr int64_t kParts = 8, kLeastPart = 512;

// One call at a time keeps its memory; another JavaScript thread takes memory of its own.
class Turn {
 public:
  float* reserve(int64_t size) { return (lock_.owns_lock() ? kept() : own_).reserve(size); }

 private:
  static Workspace& kept() {
    static Workspace* const instance = new Workspace;
    return *instance;
  }
  static std::mutex& mutex() {
    static std::mutex* const instance = new std::mutex;
    return *instance;
  }
  std::unique_lock<std::mutex> lock_{mutex(), std::try_to_lock};
  Workspace own_;
};

// filter [C, K], or turned [K, C], to panels [K / 16, C, 16]; zeros fill the last one.
void packFilter(const float* filter, int64_t C, int64_t K, bool turned, float* values) {
  parallelFor((K + kColumns - 1) / kColumns, C * K, [&](int64_t panel) {
    const int64_t begin = panel * kColumns, columns = std::min(kColumns, K - begin);
    float* const to = values + panel * C * kColumns;
    if (columns < kColumns) std::memset(to, 0, static_cast<size_t>(C * kColumns) * sizeof(float));
    for (int64_t k = 0; k < columns; k++)
      for (int64_t c = 0; c < C; c++) to[c * kColumns + k] = turned ? filter[(begin + k) * C + c] : filter[c * K + begin + k];
  });
}

// y [rows, K] = x [rows, C] filter; at least six rows.
void product(const float* x, const float* filter, float* y, int64_t rows, int64_t C, int64_t K) {
  parallelFor((rows + kTask - 1) / kTask, rows * C * K, [&](int64_t task) {
    const int64_t last = std::min(rows, (task + 1) * kTask);
    for (int64_t begin = 0; begin < K; begin += kColumns) {
      const int64_t columns = std::min(kColumns, K - begin);
      const float* const panel = filter + begin * C;
      for (int64_t row = task * kTask; row < last; row += kRows) {
        const int64_t there = std::min(kRows, last - row);
        if (there == kRows && columns == kColumns) {
          multiply(x + row * C, C, 1, panel, C, y + row * K + begin, K);
          continue;
        }
        // What is left over is computed with rows before it, or columns of zeros, that are not kept.
        float sums[kRows * kColumns];
        const int64_t from = row + there - kRows;
        multiply(x + from * C, C, 1, panel, C, sums, kColumns);
        for (int64_t r = row - from; r < kRows; r++)
          std::memcpy(y + (from + r) * K + begin, sums + r * kColumns, static_cast<size_t>(columns) * sizeof(float));
      }
    }
  });
}

// sums [C, K] of columns [begin, end) = xᵀ dy over rows [first, last); packed has room for 128 rows of them in sixteens.
void addProducts(const float* x, const float* dy, float* sums, int64_t first, int64_t last, int64_t C, int64_t K, int64_t begin, int64_t end,
                 float* packed) {
  for (int64_t row = first; row < last; row += kDepth) {
    const int64_t depth = std::min(kDepth, last - row);
    for (int64_t k = begin; k < end; k += kColumns) {
      const int64_t columns = std::min(kColumns, end - k);
      float* const to = packed + (k - begin) * kDepth;
      for (int64_t r = 0; r < depth; r++) {
        std::memcpy(to + r * kColumns, dy + (row + r) * K + k, static_cast<size_t>(columns) * sizeof(float));
        for (int64_t i = columns; i < kColumns; i++) to[r * kColumns + i] = 0;
      }
    }
    for (int64_t c = 0; c < C; c += kRows) {
      const int64_t from = std::min(c, C - kRows);
      for (int64_t k = begin; k < end; k += kColumns) {
        float part[kRows * kColumns];
        multiply(x + row * C + from, 1, C, packed + (k - begin) * kDepth, depth, part, kColumns);
        const int64_t columns = std::min(kColumns, end - k);
        for (int64_t r = c - from; r < kRows; r++) {
          float* const sum = sums + (from + r) * K + k;
          const float* const add = part + r * kColumns;
          for (int64_t i = 0; i < columns; i++) sum[i] = row == first ? add[i] : sum[i] + add[i];
        }
      }
    }
  }
}

bool filterGradient(const float* x, const float* dy, float* filter, int64_t rows, int64_t C, int64_t K, Turn& turn) {
  const int64_t parts = std::clamp<int64_t>(rows / kLeastPart, 1, kParts), ofPart = (rows + parts - 1) / parts;
  const int64_t panels = (K + kColumns - 1) / kColumns, groups = std::min(panels, kParts / parts), ofGroup = (panels + groups - 1) / groups;
  const int64_t sums = parts > 1 ? parts * C * K : 0, room = ofGroup * kColumns * kDepth;
  float* const memory = turn.reserve(sums + parts * groups * room);
  if (memory == nullptr) return false;
  parallelFor(parts * groups, rows * C * K, [&](int64_t task) {
    const int64_t part = task / groups, group = task % groups, begin = group * ofGroup * kColumns;
    addProducts(x, dy, parts > 1 ? memory + part * C * K : filter, part * ofPart, std::min(rows, (part + 1) * ofPart), C, K, begin,
                std::min(K, begin + ofGroup * kColumns), memory + sums + task * room);
  });
  if (parts > 1)
    parallelFor(C, parts * C * K, [&](int64_t c) {
      for (int64_t k = c * K; k < (c + 1) * K; k++) {
        float sum = memory[k];
        for (int64_t part = 1; part < parts; part++) sum += memory[part * C * K + k];
        filter[k] = sum;
      }
    });
  return true;
}

void* create(TF_OpKernelConstruction* raw) { return new bool(Construction{raw}.flag("transposed")); }
void destroy(void* transposed) { delete static_cast<bool*>(transposed); }

int64_t pixelsOf(const std::vector<int64_t>& shape) { return shape[0] * shape[1] * shape[2]; }

void compute(void* raw, TF_OpKernelContext* context) {
  const bool transposed = *static_cast<bool*>(raw);
  Call call(context);
  const Tensor x = call.input(0), filter = call.input(1);
  if (!call.ok()) return;
  const auto of = x.shape(), taps = filter.shape();
  if (!call.expect(of.size() == 4 && taps.size() == 4 && taps[0] == 1 && taps[1] == 1 && of[3] == taps[transposed ? 3 : 2] && pixelsOf(of) >= kRows,
                   "OnestepPointwise: expected [B, H, W, C] of six pixels or more and [1, 1, C, K], got " + describe(of) + " and " + describe(taps)))
    return;
  const int64_t C = of[3], K = taps[transposed ? 2 : 3];
  const Tensor y = call.output(0, {of[0], of[1], of[2], K});
  if (!call.ok() || y.size() == 0) return;
  Turn turn;
  float* const values = turn.reserve(roundUp(K, kColumns) * C);
  if (!call.expect(values != nullptr, "OnestepPointwise: out of memory")) return;
  packFilter(filter.data(), C, K, transposed, values);
  product(x.data(), values, y.data(), pixelsOf(of), C, K);
}

void computeFilter(void*, TF_OpKernelContext* context) {
  Call call(context);
  const Tensor x = call.input(0), dy = call.input(1);
  if (!call.ok()) return;
  const auto of = x.shape(), from = dy.shape();
  if (!call.expect(of.size() == 4 && from.size() == 4 && std::equal(of.begin(), of.begin() + 3, from.begin()) && of[3] >= kRows && pixelsOf(of) > 0,
                   "OnestepPointwiseFilter: expected [B, H, W, C] of six channels or more and [B, H, W, K], got " + describe(of) + " and " + describe(from)))
    return;
  const Tensor filter = call.output(0, {1, 1, of[3], from[3]});
  if (!call.ok() || filter.size() == 0) return;
  Turn turn;
  call.expect(filterGradient(x.data(), dy.data(), filter.data(), pixelsOf(of), of[3], from[3], turn), "OnestepPointwiseFilter: out of memory");
}

}  // namespace

std::string registerPointwise() {
  const std::string problem = registerOperation("OnestepPointwise", {"transposed: bool"}, {"x: float", "filter: float"}, {"y: float"}, create, compute, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepPointwiseFilter", {}, {"x: float", "dy: float"}, {"filter: float"}, nullptr, computeFilter, nullptr);
}

}  // namespace onestep
