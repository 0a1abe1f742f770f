// What a level of the processor offers: products of packed weights, conversions, and the cells' elementwise work.
//
// There is one table of functions a level; `kernels(level)` gives it. Everything else in this folder is written over the table, so it
// is compiled once, for any processor. It knows nothing of Python.
//
// Packed weights: the rows of a matrix (N, K) in blocks of 16. Within a block k runs over the columns and the 16 rows lie side by side:
//   float32   w[block][k][16]
//   bfloat16  w[block][k / 2][16][2]
//   int8      w[block][k / 4][16][4]
// K is padded with zeros to a multiple of K_STEP; rows beyond N are zeros. A row's sum is made in the order of k, in one chain, whatever
// the number of rows of x and of threads: so a row of a batch does not depend on the others.
#pragma once
#include <cstddef>
#include <cstdint>

#include "engine_kernels.h"
#include "train_block.h"
#include "train_classic.h"

namespace escriba {

enum class Level : int { PLAIN = 0, AVX2 = 1, AVX512 = 2, AVX512_BF16 = 3, AMX = 4 };
constexpr int LANES = 16;   // numbers in a vector, on every level: so the layout of packed weights is the same everywhere
constexpr int K_STEP = 64;  // columns of packed weights come in so many: what one tile of AMX takes of int8

// y(r, 16 block + i) = start(r, 16 block + i) + sum over k of w(block, k, i) * x(r, k), for blocks first to last - 1 and every row.
// `start` has its own row stride: 0 for a bias that all rows share; y itself to add to what is there; nullptr for zeros.
struct Product {
    int first, last;         // blocks
    int columns;             // K, padded
    int rows;                // of x and y
    const void* x;           // float, bfloat16 or uint8 (value + 128), as the weights are
    std::ptrdiff_t x_stride; // in numbers
    float* y;
    std::ptrdiff_t y_stride;
    const float* start;
    std::ptrdiff_t start_stride;
    const float* x_scale;    // int8: a number for each row of x
    std::uint16_t* halves = nullptr;  // of float and bfloat16: where y goes in bfloat16, y having room for sums meanwhile; or nullptr
    std::ptrdiff_t halves_stride = 0;
};

// What is to be packed: row i, column k is number i * stride + k at `from`; or, transposed, number k * stride + i.
struct Matrix {
    const void* from;
    std::ptrdiff_t stride;
    bool transposed;
    int rows, columns;  // as they will be in the packed weights
};

struct Kernels {
    const char* name;
    void (*product_f32)(const float* weights, const Product& product);
    void (*product_bf16)(const std::uint16_t* weights, const Product& product);
    // x is packed, as the weights are: so many rows of its blocks, and no stride
    void (*product_of_packed)(const std::uint16_t* weights, const Product& product);
    // scales: of each row of the weights; sums: of each row, of its int8 numbers, times 128 (what the offset of x adds)
    void (*product_int8)(const std::int8_t* weights, const float* scales, const std::int32_t* sums, const Product& product);
    // n is a multiple of 16
    void (*to_bf16)(const float* from, std::uint16_t* to, std::ptrdiff_t n);
    void (*from_bf16)(const std::uint16_t* from, float* to, std::ptrdiff_t n);
    float (*quantize)(const float* from, std::uint8_t* to, std::ptrdiff_t n);  // to round(x / scale) + 128; gives the scale, max|x| / 127
    // blocks first to last - 1 of a matrix into packed weights of so many columns (padded): floats, floats made bfloat16, bfloat16
    void (*pack_f32)(const Matrix& matrix, int first, int last, int columns, float* to);
    void (*pack_bf16)(const Matrix& matrix, int first, int last, int columns, std::uint16_t* to);
    void (*pack_halves)(const Matrix& matrix, int first, int last, int columns, std::uint16_t* to);
    // elementwise work of the engine and of training; each in its own .inl, whose head says what it does
#include "entries.h"
};

const Kernels& kernels(Level level);  // of a level that this processor has
Level best_level();                   // of those that were built and that this processor has
bool has_level(Level level);

}  // namespace escriba
