// Many tensors as one flat one and back, in one operation each: a network has hundreds of parameters, and what an
// optimizer does with them would otherwise begin and end with an operation for each.
#include "fused-ops.h"

namespace onestep {
namespace {

void* createFlatten(TF_OpKernelConstruction* raw) { return new int64_t(Construction{raw}.integer("N")); }
void destroyFlatten(void* count) { delete static_cast<int64_t*>(count); }

struct Piece {
  float* data;
  int64_t size;
};

// Copies between the flat values and the pieces that lie in it one after the other.
void copy(const std::vector<Piece>& pieces, float* flat, bool gather) {
  std::vector<int64_t> begin(pieces.size());
  int64_t total = 0;
  for (size_t i = 0; i < pieces.size(); i++) {
    begin[i] = total;
    total += pieces[i].size;
  }
  parallelFor(static_cast<int64_t>(pieces.size()), total, [&](int64_t i) {
    const auto [data, size] = pieces[static_cast<size_t>(i)];
    float* const at = flat + begin[static_cast<size_t>(i)];
    if (size > 0) std::memcpy(gather ? at : data, gather ? data : at, static_cast<size_t>(size) * sizeof(float));
  });
}

void flatten(void* raw, TF_OpKernelContext* context) {
  const int64_t count = *static_cast<int64_t*>(raw);
  Call call(context);
  std::vector<Tensor> inputs;
  std::vector<Piece> pieces;
  int64_t size = 0;
  for (int64_t i = 0; i < count && call.ok(); i++) {
    inputs.push_back(call.input(static_cast<int>(i)));
    if (!call.ok()) return;
    pieces.push_back({inputs.back().data(), inputs.back().size()});
    size += pieces.back().size;
  }
  const Tensor flat = call.output(0, {size});
  if (call.ok()) copy(pieces, flat.data(), true);
}

struct Shapes {
  std::vector<std::vector<int64_t>> of;
  int64_t size = 0;
};

void* createUnflatten(TF_OpKernelConstruction* raw) {
  const Construction construction{raw};
  auto* const shapes = new Shapes;
  const std::vector<int64_t> ranks = construction.integers("ranks"), lengths = construction.integers("lengths");
  size_t at = 0;
  for (int64_t rank : ranks) {
    std::vector<int64_t> shape;
    int64_t size = 1;
    for (int64_t i = 0; i < rank && at < lengths.size(); i++) {
      shape.push_back(lengths[at++]);
      size *= shape.back();
    }
    shapes->of.push_back(shape);
    shapes->size += size;
  }
  return shapes;
}
void destroyUnflatten(void* shapes) { delete static_cast<Shapes*>(shapes); }

void unflatten(void* raw, TF_OpKernelContext* context) {
  const auto& [of, size] = *static_cast<Shapes*>(raw);
  Call call(context);
  const Tensor flat = call.input(0);
  if (!call.ok() || !call.expect(flat.size() == size, "OnestepUnflatten: expected " + std::to_string(size) + " values, got " + describe(flat.shape())))
    return;
  std::vector<Tensor> outputs;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < of.size() && call.ok(); i++) {
    outputs.push_back(call.output(static_cast<int>(i), of[i]));
    if (!call.ok()) return;
    pieces.push_back({outputs.back().data(), outputs.back().size()});
  }
  copy(pieces, flat.data(), false);
}

}  // namespace

std::string registerFlatten() {
  const std::string problem = registerOperation("OnestepFlatten", {"N: int"}, {"pieces: N * float"}, {"flat: float"}, createFlatten, flatten, destroyFlatten);
  return !problem.empty() ? problem
                          : registerOperation("OnestepUnflatten", {"N: int", "ranks: list(int)", "lengths: list(int)"}, {"flat: float"},
                                              {"pieces: N * float"}, createUnflatten, unflatten, destroyUnflatten);
}

}  // namespace onestep
