// Does one kernel of one level so many times and nothing else, for a program that counts instructions (benchmarks/count_instructions.py).
//
//   count LEVEL KERNEL TIMES A [B C]     A B C: rows, K and N of a product; numbers of an elementwise kernel
//
// It ends with 2 where the processor has no such level, and with 3 where there is no such kernel.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../kernels.h"
#include "../pack.h"

using namespace escriba;

static std::vector<float> numbers(std::size_t n) {
    std::vector<float> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = float(int(std::uint32_t(i) * 2654435761u >> 20) % 201 - 100) / 100;
    return x;
}

static void products(const Kernels& k, Precision precision, int times, int rows, int columns, int width) {
    const std::vector<float> w = numbers(std::size_t(width) * columns), x = numbers(std::size_t(rows) * columns);
    std::vector<float> scales(rows);
    const Packed packed = pack(w.data(), columns, width, columns, precision, [](int i) { return i; });
    Buffer<float> y(std::size_t(rows) * width), reals(x.size());
    Buffer<std::uint16_t> halves(x.size());
    Buffer<std::uint8_t> bytes(x.size());
    std::memcpy(reals.get(), x.data(), x.size() * sizeof(float));
    k.to_bf16(x.data(), halves.get(), std::ptrdiff_t(x.size()));
    for (int r = 0; r < rows; ++r) scales[r] = k.quantize(x.data() + r * columns, bytes.get() + r * columns, columns);
    const void* from = reals.get();
    if (precision == Precision::BF16) from = halves.get();
    if (precision == Precision::INT8) from = bytes.get();
    const Product p{0, width / LANES, columns, rows, from, columns, y.get(), width, nullptr, 0, scales.data()};
    for (int i = 0; i < times; ++i) product(k, packed, p);
}

static void elementwise(const Kernels& k, const char* kernel, int times, int n) {
    const std::vector<float> x = numbers(std::size_t(3) * n), r = numbers(std::size_t(3) * n), before = numbers(n);
    Buffer<float> after(n), state(n);
    Buffer<std::uint8_t> bytes(n);
    float largest = 0;
    for (int i = 0; i < times; ++i) {
        if (!std::strcmp(kernel, "gru_cell")) k.engine->gru_cell(x.data(), r.data(), before.data(), after.get(), n / LANES);
        else if (!std::strcmp(kernel, "mingru_cell")) k.engine->mingru_cell(x.data(), 2 * n, state.get(), after.get(), n, 1, n / LANES);
        else if (!std::strcmp(kernel, "sum_exp")) k.engine->sum_exp(x.data(), n, &largest);
        else if (!std::strcmp(kernel, "quantize")) k.quantize(x.data(), bytes.get(), n);
        else std::exit(3);
    }
}

int main(int argc, char** argv) {
    if (argc != 5 && argc != 7) return 3;
    const Level level = Level(std::atoi(argv[1]));
    if (!has_level(level)) return 2;
    const Kernels& k = kernels(level);
    const char* names[] = {"product_f32", "product_bf16", "product_int8"};
    for (int precision = 0; precision < 3; ++precision)
        if (argc == 7 && !std::strcmp(argv[2], names[precision])) {
            products(k, Precision(precision), std::atoi(argv[3]), std::atoi(argv[4]), std::atoi(argv[5]), std::atoi(argv[6]));
            return 0;
        }
    if (argc == 7) return 3;
    elementwise(k, argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
}
