// Holds a level of the processor to the plain one on a small fixed case: so that a processor on which nobody ever tried a level, or one
// that is emulated wrongly, computes slowly and not wrongly. It takes well under a millisecond.
#include <cmath>
#include <cstdlib>
#include <vector>

#include "export.h"
#include "kernels.h"
#include "lanes.h"

namespace escriba {
namespace {

// 21 rows: whole tiles of rows and a rest, for every tile that a level may have
constexpr int COLUMNS = 2 * K_STEP, BLOCKS = 3, WIDTH = BLOCKS * LANES, ROWS = 21;

struct Case {
    std::vector<float> x, w, start;
    std::vector<std::uint16_t> x_bf16, w_bf16;
    std::vector<std::uint8_t> x_int8;
    std::vector<std::int8_t> w_int8;
    std::vector<float> scales, x_scale;
    std::vector<std::int32_t> sums;

    explicit Case(const Kernels& plain)
        : x(ROWS * COLUMNS), w(WIDTH * COLUMNS), start(WIDTH), x_bf16(x.size()), w_bf16(w.size()), x_int8(x.size()), w_int8(w.size()),
          scales(WIDTH), x_scale(ROWS), sums(WIDTH) {
        std::uint32_t seed = 1;
        auto number = [&seed] {  // between -1 and 1
            seed = seed * 1664525u + 1013904223u;
            return float(seed >> 8) / float(1 << 23) - 1;
        };
        for (float& one : x) one = number();
        for (float& one : w) one = number();
        for (float& one : start) one = number();
        for (float& one : scales) one = 0.01f + 0.001f * number();
        for (std::size_t i = 0; i < w.size(); ++i) w_int8[i] = std::int8_t(std::nearbyint(127 * w[i]));
        for (int block = 0; block < BLOCKS; ++block)
            for (int k = 0; k < COLUMNS; ++k)
                for (int lane = 0; lane < LANES; ++lane)
                    sums[block * LANES + lane] += 128 * w_int8[(std::size_t(block) * COLUMNS + k / 4 * 4) * LANES + lane * 4 + k % 4];
        plain.to_bf16(x.data(), x_bf16.data(), std::ptrdiff_t(x.size()));
        plain.to_bf16(w.data(), w_bf16.data(), std::ptrdiff_t(w.size()));
        for (int row = 0; row < ROWS; ++row)
            x_scale[row] = plain.quantize(x.data() + row * COLUMNS, x_int8.data() + row * COLUMNS, COLUMNS);
    }

    Product product(const void* from, int rows, std::vector<float>& y) const {
        return Product{0, BLOCKS, COLUMNS, rows, from, COLUMNS, y.data(), WIDTH, start.data(), 0, x_scale.data()};
    }
};

bool near(const std::vector<float>& a, const std::vector<float>& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
        if (!(std::fabs(a[i] - b[i]) <= 1e-3f)) return false;  // sums of 128 products below 1; written so that nan is not near
    return true;
}

bool agrees(const Kernels& level, const Kernels& plain) {
    const Case c(plain);
    for (int rows : {ROWS, 1}) {
        std::vector<float> expected(rows * WIDTH), met(rows * WIDTH);
        plain.product_f32(c.w.data(), c.product(c.x.data(), rows, expected));
        level.product_f32(c.w.data(), c.product(c.x.data(), rows, met));
        if (!near(expected, met)) return false;
        plain.product_bf16(c.w_bf16.data(), c.product(c.x_bf16.data(), rows, expected));
        level.product_bf16(c.w_bf16.data(), c.product(c.x_bf16.data(), rows, met));
        if (!near(expected, met)) return false;
        plain.product_of_packed(c.w_bf16.data(), c.product(c.w_bf16.data(), rows, expected));  // the weights by themselves
        level.product_of_packed(c.w_bf16.data(), c.product(c.w_bf16.data(), rows, met));
        if (!near(expected, met)) return false;
        plain.product_int8(c.w_int8.data(), c.scales.data(), c.sums.data(), c.product(c.x_int8.data(), rows, expected));
        level.product_int8(c.w_int8.data(), c.scales.data(), c.sums.data(), c.product(c.x_int8.data(), rows, met));
        if (!near(expected, met)) return false;
    }
    std::vector<std::uint16_t> narrow(c.x.size());
    level.to_bf16(c.x.data(), narrow.data(), std::ptrdiff_t(c.x.size()));
    if (narrow != c.x_bf16) return false;
    std::vector<float> expected(c.x.size()), met(c.x.size());
    plain.from_bf16(narrow.data(), expected.data(), std::ptrdiff_t(c.x.size()));
    level.from_bf16(narrow.data(), met.data(), std::ptrdiff_t(c.x.size()));
    if (expected != met) return false;
    for (int row = 0; row < ROWS; ++row) {
        std::uint8_t bytes[COLUMNS];
        const float scale = level.quantize(c.x.data() + row * COLUMNS, bytes, COLUMNS);
        if (!(std::fabs(scale - c.x_scale[row]) <= 1e-6f)) return false;
        for (int k = 0; k < COLUMNS; ++k)
            if (std::abs(int(bytes[k]) - int(c.x_int8[row * COLUMNS + k])) > 1) return false;  // a tie may fall either way
    }
    return true;
}

}  // namespace
}  // namespace escriba

// Whether a level that this processor has gives the plain level's numbers; 0 also where there is no memory to try.
ESCRIBA_API int escriba_check_level(int level) {
    if (!escriba::has_level(escriba::Level(level))) return 0;
    try {
        return escriba::agrees(escriba::kernels(escriba::Level(level)), escriba::kernels(escriba::Level::PLAIN));
    } catch (...) {
        return 0;
    }
}
