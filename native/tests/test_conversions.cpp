// Tests the conversions and the packing of every level, and the formulas of gates through `formulas_of_level.cpp`.
//
// tests/native/test_kernels.py builds and runs it.
#include "checks.h"

#include "../pack.h"

using namespace escriba;

// bfloat16 by its definition: of the two neighbours the nearer, and of two as near the even one.
static std::uint16_t nearest_bf16(float x) {
    const std::uint32_t bits = bits_of(x);
    const std::uint16_t below = std::uint16_t(bits >> 16);
    if (std::isnan(x)) return below | 0x40;
    if (std::isinf(x)) return below;
    const std::uint32_t rest = bits & 0xffff;
    return std::uint16_t(below + (rest > 0x8000 || (rest == 0x8000 && below % 2)));
}

static bool flushes(const Kernels& k) { return !std::strcmp(k.name, "avx512_bf16") || !std::strcmp(k.name, "amx"); }

static void conversions(const Kernels& k) {
    std::vector<float> x;
    for (std::uint32_t upper = 0; upper < 65536; ++upper)
        for (std::uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) x.push_back(float_of(upper << 16 | lower));
    std::vector<std::uint16_t> halves(x.size());
    k.to_bf16(x.data(), halves.data(), std::ptrdiff_t(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
        std::uint16_t expected = nearest_bf16(x[i]);
        if (flushes(k) && std::fabs(x[i]) < 1.17549435e-38f) expected &= 0x8000;
        if (!check(halves[i] == expected, "%s: bf16 of %08x is %04x and not %04x", k.name, bits_of(x[i]), halves[i], expected)) return;
    }
    std::vector<float> back(x.size());
    k.from_bf16(halves.data(), back.data(), std::ptrdiff_t(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i)
        if (!check(bits_of(back[i]) == std::uint32_t(halves[i]) << 16, "%s: from bf16 %04x", k.name, halves[i])) return;
}

static void bytes(const Kernels& k) {
    Chance chance(3);
    for (int n : {16, 48, 1024}) {
        for (float size : {1.0f, 1e-3f, 1e20f, 3e38f, 1e-20f}) {
            std::vector<float> x = chance.numbers(n);
            float most = 0;
            for (float& one : x) most = std::fmax(most, std::fabs(one *= size));
            std::vector<std::uint8_t> q(n, 7);
            const float scale = k.quantize(x.data(), q.data(), n);
            check(scale == most / 127, "%s: scale %g of %g", k.name, scale, most);
            for (int i = 0; i < n; ++i)
                if (!check(q[i] >= 1 && std::fabs((int(q[i]) - 128) * scale - x[i]) <= 0.50001f * scale, "%s: %g became %d of %g", k.name,
                           x[i], q[i] - 128, scale))
                    return;
        }
        std::vector<float> x(n, 0.0f);
        std::vector<std::uint8_t> q(n, 7);
        check(k.quantize(x.data(), q.data(), n) == 0 && q[0] == 128 && q[n - 1] == 128, "%s: zeros in bytes", k.name);
        x[n / 2] = 1e-42f;
        check(k.quantize(x.data(), q.data(), n) == 0 && q[n / 2] == 128, "%s: almost zeros in bytes", k.name);
        x[0] = INFINITY;
        check(!std::isfinite(k.quantize(x.data(), q.data(), n)), "%s: infinity in bytes is seen", k.name);
        x[0] = NAN;
        x[1] = 1;
        check(!std::isfinite(k.quantize(x.data(), q.data(), n)), "%s: a number that is none is seen in bytes", k.name);
        std::vector<float> ties(n, 0.0f);
        ties[0] = 127, ties[1] = 0.5f, ties[2] = 1.5f, ties[3] = -2.5f, ties[4] = -127;
        k.quantize(ties.data(), q.data(), n);
        check(q[0] == 255 && q[1] == 128 && q[2] == 130 && q[3] == 126 && q[4] == 1, "%s: ties of bytes go to the even", k.name);
    }
}

static void packing(const Kernels& k) {
    Chance chance(5);
    for (int rows : {1, 15, 16, 17, 48, 66})
        for (int columns : {1, 16, 31, 64, 65, 130})
            for (int transposed = 0; transposed < 2; ++transposed) {
                const int outer = transposed ? columns : rows, inner = transposed ? rows : columns;
                const std::ptrdiff_t stride = inner + chance.below(5);
                const std::vector<float> x = chance.numbers((outer - 1) * stride + inner);
                std::vector<std::uint16_t> halves;
                for (float one : x) halves.push_back(nearest_bf16(one));
                const Packed f32 = room_for(rows, columns, Precision::F32), bf16 = room_for(rows, columns, Precision::BF16);
                const Packed same = room_for(rows, columns, Precision::BF16);
                const int blocks = f32.blocks(), middle = blocks / 2;
                for (std::size_t i = 0; i < f32.f32.size; ++i) f32.f32[i] = -5, bf16.bf16[i] = same.bf16[i] = 0x7777;  // of the step before
                const Matrix m{x.data(), stride, transposed != 0, rows, columns};
                const Matrix of_halves{halves.data(), stride, transposed != 0, rows, columns};
                for (int part = 0; part < 2; ++part) {
                    const int first = part ? middle : 0, last = part ? blocks : middle;
                    pack_blocks(k, f32, m, first, last);
                    pack_blocks(k, bf16, m, first, last);
                    pack_blocks_of_bf16(k, same, of_halves, first, last);
                }
                for (int i = 0; i < f32.rows; ++i)
                    for (int c = 0; c < f32.columns; ++c) {
                        const bool there = i < rows && c < columns;
                        const float expected = !there ? 0 : x[transposed ? c * stride + i : i * stride + c];
                        const std::size_t block = std::size_t(i / LANES) * LANES * f32.columns;
                        const std::size_t half = block + c / 2 * 2 * LANES + i % LANES * 2 + c % 2;
                        const std::uint16_t narrow = nearest_bf16(expected);
                        const bool good = f32.f32[block + c * LANES + i % LANES] == expected && bf16.bf16[half] == narrow &&
                                          same.bf16[half] == narrow;
                        if (!check(good, "%s: packing %d x %d, transposed %d: row %d column %d", k.name, rows, columns, transposed, i, c))
                            return;
                    }
            }
}

// `pack` puts rows in any order, and in int8.
static void ordered(const Kernels& k) {
    Chance chance(7);
    const int rows = 20, columns = 70;
    const std::vector<float> w = chance.numbers(rows * columns);
    auto row = [](int i) { return i == 3 ? -1 : 19 - i; };
    const Packed f32 = pack(w.data(), columns, rows, columns, Precision::F32, row);
    const Packed bf16 = pack(w.data(), columns, rows, columns, Precision::BF16, row);
    const Packed int8 = pack(w.data(), columns, rows, columns, Precision::INT8, row);
    for (int i = 0; i < 32; ++i) {
        float most = 0;
        int sum = 0;
        for (int c = 0; c < int8.columns; ++c) {
            const float expected = i >= rows || i == 3 || c >= columns ? 0 : w[row(i) * columns + c];
            const std::size_t block = std::size_t(i / LANES) * LANES * int8.columns;
            const int q = int8.int8[block + c / 4 * 4 * LANES + i % LANES * 4 + c % 4];
            most = std::fmax(most, std::fabs(expected));
            sum += q;
            check(f32.f32[block + c * LANES + i % LANES] == expected, "pack: float32 row %d column %d", i, c);
            const std::uint16_t half = bf16.bf16[block + c / 2 * 2 * LANES + i % LANES * 2 + c % 2];
            check(half == nearest_bf16(expected), "pack: bf16 row %d column %d", i, c);
            check(std::fabs(q * int8.scales[i] - expected) <= 0.50001f * int8.scales[i], "pack: int8 row %d column %d", i, c);
        }
        check(int8.scales[i] == most / 127 && int8.sums[i] == 128 * sum, "pack: scale and sum of row %d", i);
    }
    // and `product` takes the function of the precision
    std::vector<float> y(32), x = chance.numbers(int8.columns), bias = chance.numbers(32);
    product(k, f32, Product{0, 2, 0, 1, x.data(), int8.columns, y.data(), 32, bias.data(), 0, nullptr});
    double expected = bias[0];
    for (int c = 0; c < columns; ++c) expected += double(w[19 * columns + c]) * x[c];
    check(std::fabs(y[0] - expected) < 1e-5, "%s: product of packed weights %g and not %g", k.name, y[0], expected);
}

int main() {
    on_each_level([](const Kernels& k) {
        conversions(k);
        bytes(k);
        packing(k);
        ordered(k);
    });
    return failures() != 0;
}
