// Prints how fast each level makes its products on this processor, one thread: GFLOP/s, and GB/s of weights read.
//
// From the folder native/, on x86-64:
//
//   o=$(mktemp -d)
//   for f in level_*.cpp; do
//       c++ $(python ../tools/native.py flags | sed -n "s/^$f //p") -c $f -o $o/$f.o
//   done
//   c++ -std=c++17 -O3 -DHAVE_AVX2 -DHAVE_AVX512 -DHAVE_AVX512_BF16 -DHAVE_AMX -c dispatch.cpp -mxsave -o $o/dispatch.cpp.o
//   c++ -std=c++17 -O3 tests/bench.cpp $o/*.o -o $o/bench && $o/bench [ROWS K N]
//
// LEVEL=1 in the environment measures one level, by its number in kernels.h.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "../kernels.h"
#include "../pack.h"

using namespace escriba;

// The best of many turns, in the processor's time, so that what else the machine does counts less.
template <class Work>
static double seconds(Work work) {
    double best = 1e9, spent = 0;
    for (int times = 1; spent < 0.3; ) {
        const std::clock_t begin = std::clock();
        for (int i = 0; i < times; ++i) work();
        const double took = double(std::clock() - begin) / CLOCKS_PER_SEC;
        spent += took + 1e-6;
        if (took < 2e-4) times *= 2;
        else if (took / times < best) best = took / times;
    }
    return best;
}

static void measure(const Kernels& k, Precision precision, int rows, int columns, int width) {
    static const char* const NAMES[] = {"float32", "bf16", "int8"};
    std::vector<float> w(std::size_t(width) * columns), x(std::size_t(rows) * columns), scales(rows);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = float(int(i * 2654435761u >> 20) % 201 - 100) / 100;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 2246822519u >> 20) % 201 - 100) / 100;
    const Packed packed = pack(w.data(), columns, width, columns, precision, [](int i) { return i; });
    Buffer<float> y(std::size_t(rows) * width);
    Buffer<std::uint16_t> halves(x.size());
    Buffer<std::uint8_t> bytes(x.size());
    k.to_bf16(x.data(), halves.get(), std::ptrdiff_t(x.size()));
    for (int r = 0; r < rows; ++r) scales[r] = k.quantize(x.data() + r * columns, bytes.get() + r * columns, columns);
    const void* from = x.data();
    if (precision == Precision::BF16) from = halves.get();
    if (precision == Precision::INT8) from = bytes.get();
    const Product p{0, width / LANES, columns, rows, from, columns, y.get(), width, nullptr, 0, scales.data()};
    const double took = seconds([&] { product(k, packed, p); });
    const int sizes[] = {4, 2, 1};
    std::printf("%-12s %-8s rows %5d K %5d N %5d  %9.1f us  %8.1f GFLOP/s  %7.1f GB/s\n", k.name, NAMES[int(precision)], rows, columns,
                width, 1e6 * took, 2e-9 * rows * columns * width / took, 1e-9 * width * columns * sizes[int(precision)] / took);
    std::fflush(stdout);
}

int main(int argc, char** argv) {
    const int shapes[][3] = {{1, 1024, 1536}, {1, 1024, 3072}, {1, 256, 512},   {4, 1024, 3072},
                             {16, 256, 512},  {64, 1024, 3072}, {4096, 256, 512}};
    const int count = argc == 4 ? 1 : int(sizeof shapes / sizeof *shapes);
    for (int level = int(Level::AMX); level >= 0; --level) {
        if (!has_level(Level(level))) continue;
        if (const char* only = std::getenv("LEVEL"))
            if (std::atoi(only) != level) continue;
        for (int precision = 0; precision < 3; ++precision)
            for (int i = 0; i < count; ++i) {
                int rows = shapes[i][0], columns = shapes[i][1], width = shapes[i][2];
                if (argc == 4) rows = std::atoi(argv[1]), columns = std::atoi(argv[2]), width = std::atoi(argv[3]);
                measure(kernels(Level(level)), Precision(precision), rows, columns, width);
            }
    }
}
