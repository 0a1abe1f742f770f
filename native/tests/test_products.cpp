// Holds the products of every level to sums in double, or in whole numbers; and to themselves, when rows and blocks are shared out
// otherwise.
//
// tests/native/test_kernels.py builds and runs it. By hand: see the head of bench.cpp, with this file in the place of tests/bench.cpp.
#include "checks.h"

using namespace escriba;

enum Start { NONE, BIAS, OTHER, ITSELF };

// A product with everything it needs, each array just as long as it must be, so that a sanitizer sees what goes beyond.
struct Case {
    int rows, columns, first, last, blocks;
    std::ptrdiff_t x_stride, y_stride;
    Start start;
    std::vector<float> x, w, scales, x_scale, start_of, y;  // w[(block * columns + k) * 16 + lane]
    std::vector<std::uint16_t> x_halves, w_halves;          // w is packed as kernels.h tells
    std::vector<std::uint8_t> x_bytes;
    std::vector<std::int8_t> w_bytes;
    std::vector<std::int32_t> sums;

    Case(int seed, int rows_, int columns_, int first_, int last_, Start start_)
        : rows(rows_), columns(columns_), first(first_), last(last_), start(start_) {
        Chance chance(seed);
        blocks = last + chance.below(2);
        x_stride = columns + 16 * chance.below(3);
        y_stride = blocks * LANES + chance.below(20);
        const std::size_t of_x = (rows - 1) * x_stride + columns, of_w = std::size_t(blocks) * columns * LANES;
        x = chance.numbers(of_x);
        w = chance.numbers(of_w);
        scales = chance.numbers(blocks * LANES);
        x_scale = chance.numbers(rows);
        start_of = chance.numbers(start == BIAS ? blocks * LANES : (rows - 1) * y_stride + blocks * LANES);
        y = chance.numbers((rows - 1) * y_stride + blocks * LANES);
        for (std::size_t i = 0; i < of_x; ++i) {
            x_halves.push_back(std::uint16_t(bits_of(x[i]) >> 16));
            const int extreme = chance.below(8);  // often the greatest, so that sums of 16 bits overflow where a level makes them
            x_bytes.push_back(std::uint8_t(extreme == 0 ? 255 : extreme == 1 ? 1 : 1 + chance.below(255)));
        }
        w_halves.resize(of_w);
        w_bytes.resize(of_w);
        sums.resize(blocks * LANES);
        for (int block = 0; block < blocks; ++block)
            for (int k = 0; k < columns; ++k)
                for (int lane = 0; lane < LANES; ++lane) {
                    const int extreme = chance.below(8);
                    const int q = extreme == 0 ? 127 : extreme == 1 ? -127 : chance.below(255) - 127;
                    w_bytes[byte_at(block, k, lane)] = std::int8_t(q);
                    sums[block * LANES + lane] += 128 * q;
                    w_halves[half_at(block, k, lane)] = std::uint16_t(bits_of(w[at(block, k, lane)]) >> 16);
                }
    }
    std::size_t at(int block, int k, int lane) const { return (std::size_t(block) * columns + k) * LANES + lane; }
    std::size_t half_at(int block, int k, int lane) const { return (std::size_t(block) * columns + k / 2 * 2) * LANES + lane * 2 + k % 2; }
    std::size_t byte_at(int block, int k, int lane) const { return (std::size_t(block) * columns + k / 4 * 4) * LANES + lane * 4 + k % 4; }

    Product product(const void* from, std::vector<float>& to) const {
        Product p{first, last, columns, rows, from, x_stride, to.data(), y_stride, nullptr, 0, x_scale.data()};
        if (start == BIAS || start == OTHER) p.start = start_of.data();
        if (start == ITSELF) p.start = to.data();
        p.start_stride = start == BIAS ? 0 : y_stride;
        return p;
    }
    float begin(int row, int column) const {
        return start == NONE ? 0 : start == BIAS ? start_of[column] : (start == OTHER ? start_of : y)[row * y_stride + column];
    }
    bool outside(std::size_t i) const {
        const int column = int(i % y_stride);
        return column < first * LANES || column >= last * LANES;
    }
};

static std::vector<float> met(const Kernels& k, const Case& c, int precision) {
    std::vector<float> y = c.y;
    if (precision == 0) k.product_f32(c.w.data(), c.product(c.x.data(), y));
    if (precision == 1) k.product_bf16(c.w_halves.data(), c.product(c.x_halves.data(), y));
    if (precision == 2) k.product_int8(c.w_bytes.data(), c.scales.data(), c.sums.data(), c.product(c.x_bytes.data(), y));
    return y;
}

static void against_double(const Kernels& k, const Case& c) {
    for (int precision = 0; precision < 3; ++precision) {
        const std::vector<float> y = met(k, c, precision);
        for (std::size_t i = 0; i < y.size(); ++i)
            if (c.outside(i) && !check(bits_of(y[i]) == bits_of(c.y[i]), "%s: precision %d wrote outside its blocks", k.name, precision))
                return;
        for (int r = 0; r < c.rows; ++r)
            for (int column = c.first * LANES; column < c.last * LANES; ++column) {
                const int block = column / LANES, lane = column % LANES;
                const float got = y[r * c.y_stride + column], start = c.begin(r, column);
                double sum = 0, size = std::fabs(start);
                std::int64_t whole = 0;
                for (int n = 0; n < c.columns; ++n) {
                    const std::size_t at_x = r * c.x_stride + n;
                    whole += (int(c.x_bytes[at_x]) - 128) * int(c.w_bytes[c.byte_at(block, n, lane)]);
                    const double term = precision == 0 ? double(c.x[at_x]) * c.w[c.at(block, n, lane)]
                                                       : double(widened(c.x_halves[at_x])) * widened(c.w_halves[c.half_at(block, n, lane)]);
                    sum += term;
                    size += std::fabs(term);
                }
                bool good;
                if (precision == 2) {  // the same operations in the same order: to the bit
                    const float scaled = float(std::int32_t(whole)) * (c.scales[column] * c.x_scale[r]);
                    const float expected = c.start == NONE ? scaled : start + scaled;
                    good = bits_of(got) == bits_of(expected);
                } else {
                    good = std::fabs(got - (start + sum)) <= 1.2e-7 * std::sqrt(double(c.columns)) * size;
                }
                if (!check(good, "%s: precision %d, %d rows, %d columns, blocks %d to %d, start %d: row %d column %d is %.9g and not %.9g",
                           k.name, precision, c.rows, c.columns, c.first, c.last, c.start, r, column, got,
                           precision == 2 ? double(whole) * c.scales[column] * c.x_scale[r] + start : start + sum))
                    return;
            }
    }
}

// A row's bits are the same alone as among others, and a block's beside any others.
static void shared_out(const Kernels& k, const Case& c, int precision) {
    const std::vector<float> whole = met(k, c, precision);
    for (int rows : {1, 2, 3, 5, 11})
        for (int blocks : {1, 2, 4, 7}) {
            std::vector<float> y = c.y;
            for (int row = 0; row < c.rows; row += rows)
                for (int block = c.first; block < c.last; block += blocks) {
                    Product p = c.product(c.x.data(), y);
                    p.first = block;
                    p.last = block + blocks < c.last ? block + blocks : c.last;
                    p.rows = row + rows < c.rows ? rows : c.rows - row;
                    p.y += row * p.y_stride;
                    if (p.start) p.start += row * p.start_stride;
                    p.x_scale += row;
                    if (precision == 0) {
                        p.x = c.x.data() + row * p.x_stride;
                        k.product_f32(c.w.data(), p);
                    } else if (precision == 1) {
                        p.x = c.x_halves.data() + row * p.x_stride;
                        k.product_bf16(c.w_halves.data(), p);
                    } else {
                        p.x = c.x_bytes.data() + row * p.x_stride;
                        k.product_int8(c.w_bytes.data(), c.scales.data(), c.sums.data(), p);
                    }
                }
            const bool same = std::memcmp(y.data(), whole.data(), y.size() * 4) == 0;
            check(same, "%s: precision %d differs by %d rows and %d blocks at once of %d and %d", k.name, precision, rows,
                  blocks, c.rows, c.last - c.first);
        }
}

// x packed as the weights are gives the bits that the same rows give one after another.
static void of_packed(const Kernels& k, const Case& c) {
    const int rows = c.rows, row_blocks = (rows + LANES - 1) / LANES;
    std::vector<std::uint16_t> packed(std::size_t(row_blocks) * LANES * c.columns);
    for (int r = 0; r < rows; ++r)
        for (int n = 0; n < c.columns; ++n) packed[c.half_at(r / LANES, n, r % LANES)] = c.x_halves[r * c.x_stride + n];
    std::vector<float> expected = c.y, met = c.y;
    const Product p = c.product(c.x_halves.data(), expected);
    if (std::strcmp(k.name, "amx") == 0)  // whose products of many rows are made by another unit
        for (int r = 0; r < rows; ++r) {
            Product one = p;
            one.rows = 1, one.y += r * p.y_stride, one.x = c.x_halves.data() + r * c.x_stride;
            if (one.start) one.start += r * p.start_stride;
            k.product_bf16(c.w_halves.data(), one);
        }
    else k.product_bf16(c.w_halves.data(), p);
    k.product_of_packed(c.w_halves.data(), c.product(packed.data(), met));
    const bool same = std::memcmp(met.data(), expected.data(), met.size() * 4) == 0;
    check(same, "%s: packed x of %d rows and %d columns gives other numbers", k.name, rows, c.columns);
}

// Written in bfloat16, the sums are what they are when they are rounded afterwards, and nothing else is written.
static void in_halves(const Kernels& k, const Case& c) {
    const std::ptrdiff_t stride = c.y_stride + 5;
    const std::vector<float> sums = met(k, c, 1);
    std::vector<std::uint16_t> wanted(c.rows * stride, 0x7777), halves = wanted;
    const std::ptrdiff_t first = c.first * LANES, n = c.last * LANES - first;
    for (int r = 0; r < c.rows; ++r) k.to_bf16(sums.data() + r * c.y_stride + first, wanted.data() + r * stride + first, n);
    std::vector<float> y = c.y;
    Product p = c.product(c.x_halves.data(), y);
    p.halves = halves.data();
    p.halves_stride = stride;
    k.product_bf16(c.w_halves.data(), p);
    check(halves == wanted, "%s: %d rows and %d columns in bfloat16 are other numbers", k.name, c.rows, c.columns);
}

int main() {
    on_each_level([](const Kernels& k) {
        int seed = 0;
        for (int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 48, 64, 97, 130})
            for (int blocks : {1, 2, 3, 4, 5, 7, 8, 11}) {
                const int columns = K_STEP * (1 + (rows + blocks) % 3), first = (rows + blocks) % 2;
                ++seed;
                against_double(k, Case(seed, rows, columns, first, first + blocks, Start(seed % 4)));
                of_packed(k, Case(seed, rows, columns, first, first + blocks, Start(seed % 4)));
                in_halves(k, Case(seed, rows, columns, first, first + blocks, Start(seed % 4)));
            }
        for (int columns : {512, 576, 1088}) {
            against_double(k, Case(++seed, 1, columns, 1, 10, NONE));
            against_double(k, Case(++seed, 19, columns, 0, 4, BIAS));
            against_double(k, Case(++seed, 107, columns, 0, 3, ITSELF));
            of_packed(k, Case(++seed, 107, columns, 1, 9, BIAS));
            in_halves(k, Case(++seed, 107, columns, 1, 9, ITSELF));
        }
        for (int rows : {7, 16, 35, 133}) {
            const Case c(++seed, rows, rows == 133 ? 576 : 192, 1, 10, Start(rows % 4));
            shared_out(k, c, 0);
            shared_out(k, c, 2);
            if (std::strcmp(k.name, "amx") != 0) shared_out(k, c, 1);  // there, the sums of whole sixteens of rows are made by another unit
        }
    });
    return failures() != 0;
}
