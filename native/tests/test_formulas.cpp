// Holds exp, sigmoid, tanh and silu of one level to libm in double, over all of float32; built once for each level, with its flags and
// ESCRIBA_LEVEL 0 (plain), 2 (AVX2) or 512 (AVX-512). tests/native/test_kernels.py builds and runs it.
#if ESCRIBA_LEVEL
#include <immintrin.h>
#endif

#include "checks.h"

#include "../lanes.h"

namespace level {
using namespace escriba;
#if ESCRIBA_LEVEL
#include "../exponential.inl"
#endif
#if ESCRIBA_LEVEL == 2
#include "../vec_avx2.h"
using V = Lanes;
#elif ESCRIBA_LEVEL == 512
#include "../vec_avx512.h"
using V = Lanes;
#else
using V = PlainLanes<float>;
#endif
#include "../formulas.inl"

// How many units in the last place, of float32, between what was got and what is right.
static double units(float got, double right) {
    if (std::isnan(right)) return std::isnan(got) ? 0 : INFINITY;
    if (float(right) == got) return 0;
    if (std::isinf(got) || std::isinf(float(right)))
        return std::fabs(right) > 3.4028234e38 && std::fabs(got) > 3.4028230e38 ? 1 : INFINITY;
    int exponent;
    std::frexp(right, &exponent);
    return std::fabs(got - right) / std::ldexp(1.0, (exponent < -125 ? -125 : exponent) - 24);
}

template <class Formula, class Right>
static void hold(const char* name, Formula formula, Right right, double most_units, double most_apart) {
    double worst_units = 0, worst_apart = 0;
    float at_units = 0, at_apart = 0;
    for (std::uint64_t first = 0; first < (std::uint64_t(1) << 32); first += 16 * 977) {  // so every part of float32, and odd bits too
        float x[16], y[16];
        for (int i = 0; i < 16; ++i) x[i] = float_of(std::uint32_t(first + i * 977));
        formula(V::load(x)).store(y);
        for (int i = 0; i < 16; ++i) {
            const double expected = right(double(x[i])), far = units(y[i], expected);
            const double apart = std::fabs(y[i] - expected) / std::fmax(1, std::fabs(expected));
            if (far > worst_units) worst_units = far, at_units = x[i];
            if (!(apart <= worst_apart) && !std::isnan(expected) && std::isfinite(float(expected))) worst_apart = apart, at_apart = x[i];
            check(std::isnan(expected) == std::isnan(y[i]), "%s(%g) is %g and not %g", name, x[i], y[i], expected);
        }
    }
    std::printf("%s: %.2f units at %.9g, %.3g at %.9g\n", name, worst_units, at_units, worst_apart, at_apart);
    check(worst_units <= most_units, "%s is %g units off at %.9g", name, worst_units, at_units);
    check(worst_apart <= most_apart, "%s is %g off at %.9g", name, worst_apart, at_apart);
}

static void specials() {
    const float x[16] = {0,         -0.0f,      1,        -1,        INFINITY, -INFINITY, NAN,   88.72283f,
                         88.72284f, -87.33655f, -103.97f, -103.98f, 200,      -200,      3e38f, -3e38f};
    float y[16];
    exp(V::load(x)).store(y);
    check(y[0] == 1 && y[1] == 1, "exp(0) is %g", y[0]);
    check(y[4] == INFINITY && y[5] == 0 && std::isnan(y[6]), "exp of infinities and none: %g %g %g", y[4], y[5], y[6]);
    check(std::isfinite(y[7]) && y[8] == INFINITY, "exp at its greatest: %g %g", y[7], y[8]);
    check(y[10] > 0 && y[11] == 0, "exp at its least: %g %g", y[10], y[11]);
    check(y[12] == INFINITY && y[13] == 0 && y[14] == INFINITY && y[15] == 0, "exp far out");
    tanh(V::load(x)).store(y);
    check(y[0] == 0 && y[4] == 1 && y[5] == -1 && std::isnan(y[6]), "tanh: %g %g %g %g", y[0], y[4], y[5], y[6]);
    sigmoid(V::load(x)).store(y);
    check(y[0] == 0.5f && y[4] == 1 && y[5] == 0 && std::isnan(y[6]), "sigmoid: %g %g %g %g", y[0], y[4], y[5], y[6]);
    float z[16], sum = 0;
    for (int half = 8, i = 0; i < 16; ++i) z[i] = 1.0f / float(i + half);
    PlainLanes<float> plain = PlainLanes<float>::load(z);
    sum = V::load(z).sum();
    check(bits_of(sum) == bits_of(plain.sum()) && V::load(z).largest() == z[0], "the sum of lanes is %.9g and not %.9g", sum, plain.sum());
}

static int run() {
    specials();
    hold("exp", [](V x) { return exp(x); }, [](double x) { return std::exp(x); }, 2.0, INFINITY);
    hold("sigmoid", [](V x) { return sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, INFINITY, 2e-7);
    hold("tanh", [](V x) { return tanh(x); }, [](double x) { return std::tanh(x); }, INFINITY, 2e-7);
    // at -infinity it is none, as in x * sigmoid(x)
    hold("silu", [](V x) { return silu(x); }, [](double x) { return x / (1 + std::exp(-x)); }, INFINITY, 2e-7);
    return failures() != 0;
}
}  // namespace level

int main() { return level::run(); }
