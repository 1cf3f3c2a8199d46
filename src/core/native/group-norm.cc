// Group normalization, modulation and SiLU in one operation, and its gradient in another (Wu & He 2018).
//
// Activations are [B, H, W, C]; u = x + offset, and per sample and channel everything before the activation is
// z = (u - mean) a + b. One sample is worked on by one thread and mostly stays in its cache. Sums run in float over
// at most kBlock pixels and in double over blocks; the variance is that of deviations from the mean, so nothing
// cancels for data whose mean is far from zero.
#include <algorithm>
#include <cmath>

#include "fused-ops.h"

namespace onestep {
namespace {

struct Attributes {
  int64_t groups;
  float epsilon;
  bool silu, scale, shift, offset;
};

void* create(TF_OpKernelConstruction* raw) {
  const Construction c{raw};
  return new Attributes{c.integer("groups"), c.number("epsilon"),   c.flag("silu"),
                        c.flag("has_scale"), c.flag("has_shift"), c.flag("has_offset")};
}

void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// The inputs that both operations have: x, gamma, beta, and scale, shift and offset where given.
struct Inputs {
  Tensor x, gamma, beta, scale, shift, offset;
  int64_t B = 0, N = 0, C = 0, G = 0, D = 0;

  // `first` is the index of x, `extra` that of the first of scale, shift and offset.
  Inputs(Call& call, const Attributes& attributes, const char* name, int first, int extra)
      : x(call.input(first)), gamma(call.input(first + 1)), beta(call.input(first + 2)),
        scale(attributes.scale ? call.input(extra) : Tensor()),
        shift(attributes.shift ? call.input(extra + attributes.scale) : Tensor()),
        offset(attributes.offset ? call.input(extra + attributes.scale + attributes.shift) : Tensor()) {
    if (!call.ok()) return;
    const auto shape = x.shape();
    const std::string where = std::string(name) + ": x " + describe(shape) + ": ";
    if (!call.expect(shape.size() == 4, where + "expected [B, H, W, C]")) return;
    B = shape[0];
    N = shape[1] * shape[2];
    C = shape[3];
    G = attributes.groups;
    if (!call.expect(G > 0 && C % G == 0, where + "expected channels that are a multiple of " + std::to_string(G) + " groups")) return;
    D = C / G;
    const auto check = [&](const char* what, const Tensor& tensor, int64_t size) {
      if (tensor.raw)
        call.expect(tensor.size() == size, where + "expected " + what + " of " + std::to_string(size) + " values, got " +
                                               describe(tensor.shape()));
    };
    check("gamma", gamma, C);
    check("beta", beta, C);
    check("scale", scale, B * C);
    check("shift", shift, B * C);
    check("offset", offset, B * C);
  }

  // a and b for the 1/std of each group; `slip` is how far a channel's centre is from u's mean.
  void affine(int64_t sample, const float* rstd, const float* slip, float* a, float* b) const {
    const float *g = gamma.data(), *o = beta.data();
    const float* s = scale.raw ? scale.data() + sample * C : nullptr;
    const float* t = shift.raw ? shift.data() + sample * C : nullptr;
    for (int64_t group = 0; group < G; group++)
      for (int64_t c = group * D; c < (group + 1) * D; c++) a[c] = rstd[group] * g[c];
    std::memcpy(b, o, static_cast<size_t>(C) * sizeof(float));
    if (s)
      for (int64_t c = 0; c < C; c++) {
        a[c] *= s[c] + 1.0f;
        b[c] *= s[c] + 1.0f;
      }
    if (t)
      for (int64_t c = 0; c < C; c++) b[c] += t[c];
    if (slip)
      for (int64_t c = 0; c < C; c++) b[c] += slip[c] * a[c];
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// Forward

template <bool activated> void normalize(const float* x, float* y, int64_t N, int64_t C, const float* centre, const float* a, const float* b) {
  forBlocks(0, N, [&](int64_t from, int64_t to) {
    forLines(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c), factor = load<V>(a + c), constant = load<V>(b + c);
      for (int64_t n = from; n < to; n++) {
        const V z = (load<V>(x + n * C + c) - middle) * factor + constant;
        if constexpr (activated) store<V>(y + n * C + c, silu<V>(z));
        else store<V>(y + n * C + c, z);
      }
    });
  });
}

void forwardSample(const Inputs& in, const Attributes& attributes, int64_t sample, float* y, float* means, float* rstds) {
  const int64_t N = in.N, C = in.C, G = in.G, D = in.D;
  const float* x = in.x.data() + sample * N * C;
  const float* offset = in.offset.raw ? in.offset.data() + sample * C : nullptr;
  std::vector<double> sums(C, 0.0), squares(C, 0.0);
  std::vector<float> scratch(4 * C);
  float *centre = scratch.data(), *slip = centre + C, *a = slip + C, *b = a + C;

  sumOverPixels(x, N, C, sums.data(), [](auto v, int64_t) { return v; });
  for (int64_t g = 0; g < G; g++) {
    double sum = 0;
    for (int64_t c = g * D; c < (g + 1) * D; c++) sum += sums[c] + (offset ? static_cast<double>(N) * offset[c] : 0.0);
    const double mean = sum / static_cast<double>(N * D);
    means[g] = static_cast<float>(mean);
    for (int64_t c = g * D; c < (g + 1) * D; c++) {
      const double exact = mean - (offset ? offset[c] : 0.0f);
      centre[c] = static_cast<float>(exact);
      slip[c] = static_cast<float>(centre[c] - exact);
    }
  }
  sumOverPixels(x, N, C, squares.data(), [centre](auto v, int64_t c) {
    const auto d = v - load<decltype(v)>(centre + c);
    return d * d;
  });
  for (int64_t g = 0; g < G; g++) {
    double sum = 0;
    for (int64_t c = g * D; c < (g + 1) * D; c++) sum += squares[c];
    rstds[g] = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(N * D) + attributes.epsilon));
  }
  in.affine(sample, rstds, slip, a, b);
  (attributes.silu ? normalize<true> : normalize<false>)(x, y + sample * N * C, N, C, centre, a, b);
}

void compute(void* raw, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const Inputs in(call, attributes, "OnestepGroupNorm", 0, 3);
  if (!call.ok()) return;
  const Tensor y = call.output(0, in.x.shape());
  const Tensor mean = call.output(1, {in.B, in.G, 1});
  const Tensor rstd = call.output(2, {in.B, in.G, 1});
  if (!call.ok() || in.x.size() == 0) return;
  parallelFor(in.B, in.x.size(), [&](int64_t sample) {
    forwardSample(in, attributes, sample, y.data(), mean.data() + sample * in.G, rstd.data() + sample * in.G);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Gradient

// Sums over pixels of one sample, per channel.
struct Sums {
  double* dz;       // dz
  double* centred;  // dz (u - mean)
};

// Writes dz = dy silu'(z), which is dy without SiLU, and adds up the sums.
template <bool activated>
void gradientOfAffine(const float* dy, const float* x, float* dz, int64_t N, int64_t C, const float* centre, const float* a,
                      const float* b, Sums sums) {
  forBlocks(0, N, [&](int64_t from, int64_t to) {
    forLines(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c), factor = load<V>(a + c), constant = load<V>(b + c);
      V sum{}, centred{};
      for (int64_t n = from; n < to; n++) {
        const V d = load<V>(x + n * C + c) - middle;
        V g = load<V>(dy + n * C + c);
        if constexpr (activated) {
          const V z = d * factor + constant;
          const V s = sigmoid<V>(z);
          g = g * (s * (1.0f + z * (1.0f - s)));
          store<V>(dz + n * C + c, g);
        }
        sum += g;
        centred += g * d;
      }
      addTo<V>(sums.dz + c, sum);
      addTo<V>(sums.centred + c, centred);
    });
  });
}

struct Gradients {
  Tensor dx, dgamma, dbeta, dscale, dshift, doffset;
};

// `share`, [2, C], takes this sample's part of dgamma and dbeta.
void gradientSample(const Inputs& in, const Attributes& attributes, int64_t sample, const float* dy, const float* means,
                    const float* rstds, const Gradients& out, double* share) {
  const int64_t N = in.N, C = in.C, G = in.G, D = in.D;
  const float* x = in.x.data() + sample * N * C;
  float* dx = out.dx.data() + sample * N * C;
  const float* offset = in.offset.raw ? in.offset.data() + sample * C : nullptr;
  std::vector<double> doubles(3 * C, 0.0);
  const Sums sums{doubles.data(), doubles.data() + C};
  double* const total = doubles.data() + 2 * C;
  std::vector<float> scratch(5 * C);
  float *centre = scratch.data(), *a = centre + C, *b = a + C, *c2 = b + C, *c3 = c2 + C;
  for (int64_t g = 0; g < G; g++)
    for (int64_t c = g * D; c < (g + 1) * D; c++) centre[c] = means[g] - (offset ? offset[c] : 0.0f);
  in.affine(sample, rstds, nullptr, a, b);

  // dx holds dz until the sums are known.
  dy += sample * N * C;
  (attributes.silu ? gradientOfAffine<true> : gradientOfAffine<false>)(dy, x, dx, N, C, centre, a, b, sums);
  const float* dz = attributes.silu ? dx : dy;

  // Each channel by itself first, which goes by vectors, then each group.
  const float *gamma = in.gamma.data(), *beta = in.beta.data();
  const float* scale = in.scale.raw ? in.scale.data() + sample * C : nullptr;
  for (int64_t g = 0; g < G; g++)
    for (int64_t c = g * D; c < (g + 1) * D; c++) sums.centred[c] *= rstds[g];
  if (out.dscale.raw)
    for (int64_t c = 0; c < C; c++)
      out.dscale.data()[sample * C + c] = static_cast<float>(gamma[c] * sums.centred[c] + beta[c] * sums.dz[c]);
  if (out.dshift.raw)
    for (int64_t c = 0; c < C; c++) out.dshift.data()[sample * C + c] = static_cast<float>(sums.dz[c]);
  for (int64_t c = 0; c < C; c++) {
    const double factor = scale ? scale[c] + 1.0f : 1.0f;
    share[c] = sums.centred[c] * factor;
    share[C + c] = sums.dz[c] * factor;
  }
  const double count = static_cast<double>(N * D);
  for (int64_t g = 0; g < G; g++) {
    double m1 = 0, m2 = 0;
    for (int64_t c = g * D; c < (g + 1) * D; c++) {
      m1 += gamma[c] * share[C + c];
      m2 += gamma[c] * share[c];
    }
    // dx = a dz - rstd (mean(dn) + xhat mean(dn xhat)), dn = gamma (scale + 1) dz, means over the group.
    const double rstd = rstds[g];
    std::fill_n(c2 + g * D, D, static_cast<float>(-rstd * rstd * m2 / count));
    std::fill_n(c3 + g * D, D, static_cast<float>(-rstd * m1 / count));
  }
  forBlocks(0, N, [&](int64_t from, int64_t to) {
    forLines(C, [&](int64_t c, auto tag) {
      using V = decltype(tag);
      const V middle = load<V>(centre + c), factor = load<V>(a + c), slope = load<V>(c2 + c), constant = load<V>(c3 + c);
      for (int64_t n = from; n < to; n++) {
        const V d = load<V>(x + n * C + c) - middle;
        store<V>(dx + n * C + c, factor * load<V>(dz + n * C + c) + (slope * d + constant));
      }
    });
  });
  if (out.doffset.raw) {
    sumOverPixels(dx, N, C, total, [](auto v, int64_t) { return v; });
    for (int64_t c = 0; c < C; c++) out.doffset.data()[sample * C + c] = static_cast<float>(total[c]);
  }
}

void computeGradient(void* raw, TF_OpKernelContext* context) {
  const auto& attributes = *static_cast<Attributes*>(raw);
  Call call(context);
  const Inputs in(call, attributes, "OnestepGroupNormGrad", 1, 6);
  const Tensor dy = call.input(0), mean = call.input(4), rstd = call.input(5);
  if (!call.ok()) return;
  call.expect(dy.shape() == in.x.shape(), "OnestepGroupNormGrad: expected dy " + describe(in.x.shape()) + ", got " + describe(dy.shape()));
  call.expect(mean.size() == in.B * in.G && rstd.size() == in.B * in.G,
              "OnestepGroupNormGrad: expected mean and rstd of " + std::to_string(in.B * in.G) + " values");
  Gradients out;
  int next = 0;
  const auto allocate = [&](Tensor& tensor, const Tensor& like) {
    if (call.ok()) tensor = call.output(next++, like.shape());
  };
  allocate(out.dx, in.x);
  allocate(out.dgamma, in.gamma);
  allocate(out.dbeta, in.beta);
  if (attributes.scale) allocate(out.dscale, in.scale);
  if (attributes.shift) allocate(out.dshift, in.shift);
  if (attributes.offset) allocate(out.doffset, in.offset);
  if (!call.ok()) return;

  const int64_t C = in.C;
  std::vector<double> shares(2 * in.B * C, 0.0);
  if (in.x.size() > 0) {
    parallelFor(in.B, 2 * in.x.size(), [&](int64_t sample) {
      gradientSample(in, attributes, sample, dy.data(), mean.data() + sample * in.G, rstd.data() + sample * in.G, out,
                     shares.data() + 2 * sample * C);
    });
  }
  // In the order of the samples: the result does not depend on the number of threads.
  std::vector<double> totals(2 * C, 0.0);
  for (int64_t sample = 0; sample < in.B; sample++)
    for (int64_t i = 0; i < 2 * C; i++) totals[i] += shares[2 * sample * C + i];
  std::copy_n(totals.data(), C, out.dgamma.data());
  std::copy_n(totals.data() + C, C, out.dbeta.data());
}

}  // namespace

std::string registerGroupNorm() {
  const std::vector<const char*> attributes = {"groups: int",     "epsilon: float",  "silu: bool",      "has_scale: bool",
                                               "has_shift: bool", "has_offset: bool", "N: int >= 0"};
  // The modulation is scale, shift and offset, those that are there, in this order.
  const std::string problem =
      registerOperation("OnestepGroupNorm", attributes, {"x: float", "gamma: float", "beta: float", "modulation: N * float"},
                        {"y: float", "mean: float", "rstd: float"}, create, compute, destroy);
  if (!problem.empty()) return problem;
  return registerOperation("OnestepGroupNormGrad", attributes,
                           {"dy: float", "x: float", "gamma: float", "beta: float", "mean: float", "rstd: float", "modulation: N * float"},
                           {"dx: float", "dgamma: float", "dbeta: float", "dmodulation: N * float"}, create, computeGradient, destroy);
}

}  // namespace onestep
